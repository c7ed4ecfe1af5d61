//! What the server is sent: which prompts, when, and how cold.

use std::collections::{BTreeMap, BTreeSet};

use sim::{Background, ReceivedRequest};
use workload::TextTokenizer;

use crate::support::process::Place;
use crate::support::server::{self, measured, request_id, tally, text, warm_ups};

/// Tokens of a working-set prompt that a prompt of 1000 tokens at 50 % begins with.
const CACHED: usize = 256;
/// The server's block.
const BLOCK: usize = 16;

fn tokenizer() -> TextTokenizer {
    TextTokenizer::from_bytes(hub::builtin_tokenizer()).expect("the built-in tokenizer loads")
}

/// Token ids of a request's prompt.
fn ids(tokenizer: &TextTokenizer, request: &ReceivedRequest) -> Vec<u32> {
    tokenizer.encode(text(request))
}

/// Phase and number of a measured request.
fn place_in_phase(request: &ReceivedRequest) -> (String, u64) {
    let (phase, k) = request_id(request)
        .rsplit_once("_r")
        .expect("phase and number");
    (phase.to_owned(), k.parse().expect("a number"))
}

/// Measured requests in the order in which they were launched: by phase as they came, then by number.
fn in_order(server: &Background) -> Vec<ReceivedRequest> {
    let mut requests = measured(server);
    let mut phases: Vec<String> = Vec::new();
    for request in &requests {
        let (phase, _) = place_in_phase(request);
        if !phases.contains(&phase) {
            phases.push(phase);
        }
    }
    requests.sort_by_key(|request| {
        let (phase, k) = place_in_phase(request);
        (phases.iter().position(|p| *p == phase), k)
    });
    requests
}

/// Requests that build on a working-set prompt, and those that do not.
fn split(requests: Vec<ReceivedRequest>) -> (Vec<ReceivedRequest>, Vec<ReceivedRequest>) {
    requests
        .into_iter()
        .partition(|request| text(request).starts_with("# PROMPT_"))
}

/// The working-set prompt that a text begins with: the number behind `# PROMPT_`.
fn number(text: &str) -> usize {
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("# PROMPT_")
        .and_then(|number| number.trim().parse().ok())
        .unwrap_or_else(|| panic!("'{line}' is no first line of a working-set prompt"))
}

/// Requires that no two share the tokens of a server's block from `from` on.
#[track_caller]
fn assert_cold(tokenizer: &TextTokenizer, requests: &[&ReceivedRequest], from: usize) {
    let mut seen = BTreeMap::new();
    for request in requests {
        let block = ids(tokenizer, request)[from..from + BLOCK].to_vec();
        if let Some(other) = seen.insert(block, request_id(request)) {
            panic!("{other} and {} share a block", request_id(request));
        }
    }
}

// Example 4.
#[test]
fn warm_up_sends_the_working_set_and_measured_prompts_build_on_it_in_rotation() {
    let tokenizer = tokenizer();
    let server = server::swift();
    let place = Place::new();
    place
        .quick(&server, "--cache-hit-rates 0 50 --seed 42")
        .run()
        .exits(0);
    let warm = warm_ups(&server);
    assert_eq!(warm.len(), 8);
    let first_measured = measured(&server)[0].seq;
    let mut numbers = BTreeSet::new();
    for request in &warm {
        assert!(request.seq < first_measured);
        assert_eq!(request.max_tokens, Some(1));
        assert!(
            !text(request).contains("\n\n"),
            "a warm-up carries a question"
        );
        assert_eq!(ids(&tokenizer, request).len(), 1024);
        numbers.insert(number(text(request)));
    }
    assert_eq!(numbers, (0..8).collect());
    // Prompts of a working set differ from their first chunk on.
    assert_cold(&tokenizer, &warm.iter().collect::<Vec<_>>(), 0);

    let prefixes: BTreeMap<usize, Vec<u32>> = warm
        .iter()
        .map(|request| {
            (
                number(text(request)),
                ids(&tokenizer, request)[..CACHED].to_vec(),
            )
        })
        .collect();
    let (half, zero) = split(in_order(&server));
    assert!(half.len() > 16 && zero.len() > 16);
    for (i, request) in half.iter().enumerate() {
        let used = number(text(request));
        assert_eq!(used, i % 8, "{} is out of rotation", request_id(request));
        assert!(ids(&tokenizer, request).starts_with(&prefixes[&used]));
    }
    let all = measured(&server);
    let texts = tally(all.iter().map(text));
    assert_eq!(texts.len(), all.len(), "two measured prompts are equal");
    assert_cold(&tokenizer, &zero.iter().collect::<Vec<_>>(), 0);
    assert_cold(&tokenizer, &half.iter().collect::<Vec<_>>(), CACHED);

    // Exactly the number of tokens asked for, and the question behind it.
    let facts = place.output().json("run_facts.json");
    let questions = facts["sections"]["question_tokens"]
        .as_array()
        .expect("a list")
        .clone();
    let template = sim::prompt::template_tokens(server.service().tokenizer())
        .unwrap()
        .get();
    for request in half.iter().chain(&zero) {
        let (_, k) = place_in_phase(request);
        let question = questions[k as usize % questions.len()]
            .as_u64()
            .expect("a number");
        assert_eq!(
            request.prompt_tokens,
            Some(template + 1000 + question),
            "{}",
            request_id(request)
        );
    }
    // And the server's word on what it had: the template's own tokens shift where blocks begin.
    for (requests, expected) in [(&half, CACHED as u64), (&zero, 0)] {
        for request in requests {
            let cached = request.cached_tokens.expect("the server counts");
            let most = expected + template + BLOCK as u64;
            assert!(
                (expected / BLOCK as u64 * BLOCK as u64..=most).contains(&cached),
                "{cached}"
            );
        }
    }
    assert!(place.output().doubts(1000, 0).is_empty());
    assert!(place.output().doubts(1000, 50).is_empty());
    place.output().assert_valid();
}

// Example 4, its last sentence.
#[test]
fn a_seed_decides_every_prompt_by_phase_and_number() {
    let by_place = |server: &Background| -> BTreeMap<(bool, (String, u64)), String> {
        measured(server)
            .iter()
            .map(|r| {
                (
                    (text(r).starts_with("# PROMPT_"), place_in_phase(r)),
                    text(r).to_owned(),
                )
            })
            .collect()
    };
    let servers = [server::swift(), server::swift()];
    for server in &servers {
        let place = Place::new();
        place
            .quick(server, "--cache-hit-rates 0 50 --seed -5")
            .run()
            .exits(0);
    }
    let warm = servers.each_ref().map(warm_ups);
    let texts = warm.each_ref().map(|warm| tally(warm.iter().map(text)));
    assert_eq!(texts[0], texts[1]);
    let [one, other] = servers.each_ref().map(by_place);
    let mut compared = 0;
    for (place, text) in &one {
        let (half, (phase, _)) = place;
        // At 50 % a later phase takes up the rotation where the earlier one left it, and how many requests
        // the earlier one had is the server's doing; only the fresh part is decided there.
        let same_rotation = !half || phase == "RAMP_c2";
        if let Some(again) = other.get(place).filter(|_| same_rotation) {
            assert_eq!(text, again, "{place:?}");
            compared += 1;
        }
    }
    assert!(compared > 50, "only {compared} prompts could be compared");
}

#[test]
fn without_a_seed_two_runs_on_one_server_share_nothing() {
    let tokenizer = tokenizer();
    let server = server::swift();
    for _ in 0..2 {
        let place = Place::new();
        place
            .quick(&server, "--cache-hit-rates 0 50 --num-retries 0")
            .run()
            .exits(0)
            .warns_of_nothing();
        assert!(place.output().doubts(1000, 0).is_empty());
    }
    let warm = warm_ups(&server);
    assert_eq!(warm.len(), 16);
    let (_, zero) = split(measured(&server));
    assert_cold(&tokenizer, &warm.iter().chain(&zero).collect::<Vec<_>>(), 0);
}

#[test]
fn a_seeded_repeat_on_a_server_that_still_holds_the_prompts_is_told_to_be_warm() {
    let server = server::swift();
    let command = "--seed 11 --num-retries 0";
    let first = Place::new();
    first
        .quick(&server, command)
        .run()
        .exits(0)
        .warns_of_nothing();
    assert!(first.output().doubts(1000, 0).is_empty());
    let second = Place::new();
    second
        .quick(&server, command)
        .run()
        .exits(0)
        .says("WARNING")
        .says("--seed");
    assert_eq!(second.output().doubts(1000, 0), ["warm_cold"]);
    second.output().assert_valid();
}

// Example 5. Beyond the example, a few words stand between prompt and question, because the question would
// be cached as well from its second use with the same prompt on (see workload's prompt module).
#[test]
fn at_100_percent_every_prompt_is_a_warm_up_prompt_and_a_question() {
    let tokenizer = tokenizer();
    let server = server::swift();
    let place = Place::new();
    place.quick(&server, "--cache-hit-rates 100").run().exits(0);
    let warm = warm_ups(&server);
    let whole: BTreeMap<usize, &str> = warm.iter().map(|r| (number(text(r)), text(r))).collect();
    assert_eq!(whole.len(), 8);
    let template = sim::prompt::template_tokens(server.service().tokenizer())
        .unwrap()
        .get();
    let (mut used, mut apart) = (BTreeSet::new(), BTreeSet::new());
    let requests = measured(&server);
    for request in &requests {
        let id = request_id(request);
        let (body, question) = text(request).split_once("\n\n").expect("a blank line");
        let prompt = whole[&number(body)];
        let words = body
            .strip_prefix(prompt)
            .unwrap_or_else(|| panic!("{id} is not whole"));
        assert!(
            ids(&tokenizer, request).starts_with(&tokenizer.encode(prompt)),
            "{id}"
        );
        assert!(tokenizer.encode(words).len() < BLOCK, "{id}: '{words}'");
        assert!(
            !question.trim().is_empty() && !question.contains("\n\n"),
            "{id}"
        );
        used.insert(number(body));
        apart.insert(words.to_owned());
        // What the server had: the prompt to its last whole block, and never a block of the question.
        let cached = request.cached_tokens.expect("the server counts");
        assert!(
            (1024..1024 + template + BLOCK as u64).contains(&cached),
            "{id}: {cached}"
        );
    }
    assert_eq!(used.len(), 8);
    assert_eq!(apart.len(), requests.len());
    let detail = place.output().detail(1000);
    assert_eq!(detail.distinct("cached_tokens"), ["1024".to_owned()].into());
    assert_eq!(detail.distinct("unique_tokens"), ["0".to_owned()].into());
    assert!(place.output().doubts(1000, 100).is_empty());
    place.output().assert_valid();
}

#[test]
fn random_selection_follows_the_seed_and_not_the_rotation() {
    let order = |seed: &str| -> Vec<usize> {
        let server = server::swift();
        let place = Place::new();
        place
            .quick(
                &server,
                "--cache-hit-rates 50 --num-retries 0 --random-working-set-selection",
            )
            .args(["--seed", seed])
            .run()
            .exits(0);
        place.output().assert_valid();
        in_order(&server)
            .iter()
            .map(|request| number(text(request)))
            .collect()
    };
    let (one, again, other) = (order("1"), order("1"), order("2"));
    let n = one.len().min(again.len()).min(other.len());
    assert!(n > 16, "only {n} requests");
    assert_eq!(one[..n], again[..n]);
    assert_ne!(one[..n], other[..n]);
    assert!(one.iter().all(|index| *index < 8));
    // A rotation visits 8 prompts in 8 requests, always.
    assert!(
        one.windows(8)
            .any(|w| w.iter().collect::<BTreeSet<_>>().len() < 8)
    );
}

/// Warm-ups before each stretch of measured requests.
fn stretches(server: &Background) -> Vec<usize> {
    let (mut stretches, mut n, mut measuring) = (Vec::new(), 0, false);
    for request in server.generations() {
        if request_id(&request).starts_with("WARMUP_") {
            n += 1;
            measuring = false;
        } else if !measuring {
            measuring = true;
            stretches.push(n);
            n = 0;
        }
    }
    stretches
}

#[test]
fn the_working_set_is_warmed_once_per_context_per_rate_or_per_window() {
    for (strategy, retries, expected) in [
        ("once", "0", vec![8]),
        ("per_cache_rate", "0", vec![8, 8]),
        ("per_test", "1", vec![8, 8, 8, 8]),
    ] {
        let server = server::swift();
        let place = Place::new();
        place
            .quick(&server, "--cache-hit-rates 0 50")
            .args(["--reinit-strategy", strategy, "--num-retries", retries])
            .run()
            .exits(0);
        assert_eq!(stretches(&server), expected, "{strategy}");
        for request in warm_ups(&server) {
            assert_eq!(request.max_tokens, Some(1));
        }
        place.output().assert_valid();
    }
}

#[test]
fn contexts_share_no_text_though_the_seed_is_one() {
    let tokenizer = tokenizer();
    let server = server::swift();
    let place = Place::new();
    place
        .quick(
            &server,
            "--context-sizes 2000 1000 --seed 1 --num-retries 0",
        )
        .run()
        .exits(0);
    let warm = warm_ups(&server);
    assert_eq!(warm.len(), 8 + 4);
    // Both sets begin with the line that numbers the prompt, which may fill a block.
    let shared = |a: &[u32], b: &[u32]| a.iter().zip(b).take_while(|(a, b)| a == b).count();
    for small in &warm[..8] {
        for large in &warm[8..] {
            let n = shared(&ids(&tokenizer, small), &ids(&tokenizer, large));
            assert!(n < BLOCK, "{n} tokens in common");
        }
    }
    place.output().assert_valid();
}

#[test]
fn a_working_set_smaller_than_a_prompt_is_one_prompt_and_a_warning() {
    let server = server::swift();
    let place = Place::new();
    let run = place
        .quick(&server, "--context-sizes 3000 --working-set-size 1000")
        .args("--cache-hit-rates 50 --chunk-size 64 --num-retries 0".split(' '))
        .run()
        .exits(0);
    let warnings = run.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("--working-set-size") && warnings[0].contains("3008"),
        "{warnings:?}"
    );
    assert_eq!(warm_ups(&server).len(), 1);
    let detail = place.output().detail(3000);
    // 1500 tokens are 23 chunks of 64 and a rest.
    assert_eq!(detail.distinct("cached_tokens"), ["1472".to_owned()].into());
    assert_eq!(detail.distinct("unique_tokens"), ["1528".to_owned()].into());
    place.output().assert_valid();
}
