//! Word lists shared by all topics: connectors, general verbs and adjectives.
//!
//! Promise: lower-case ASCII words only, separated by white space.

/// Words that tie clauses together.
pub(super) const CONNECTORS: &str = "and or but so because while when where although though since unless until if then thus hence \
    therefore however moreover besides meanwhile instead otherwise likewise similarly consequently additionally furthermore \
    nevertheless finally first second next later before after during within without across between among through toward against \
    beyond despite except beneath alongside together with from into onto upon over under around about per via as than also yet \
    whereas whenever wherever rather indeed namely still even only";

/// Verbs that fit every topic.
pub(super) const VERBS: &str = "use make keep take give find show hold build create change improve reduce increase replace remove \
    support require provide allow prevent avoid ensure handle manage maintain extend combine compare choose design test inspect \
    review start stop finish begin continue repeat connect separate store load share move adjust control follow protect track \
    simplify separate prepare select limit detect explain discover expect";

/// Adjectives that fit every topic.
pub(super) const ADJECTIVES: &str = "fast slow small large simple complex robust fragile stable unstable scalable reliable secure \
    efficient flexible modern legacy distributed central local remote shared private public internal external static dynamic lazy \
    eager strict loose safe risky clean dirty warm cold hot idle busy full empty deep shallow wide narrow parallel serial atomic \
    durable temporary permanent virtual physical logical partial complete optional required default custom native portable compact \
    verbose quiet noisy smart plain rich sparse dense fresh stale recent early late";
