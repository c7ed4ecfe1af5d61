//! The twenty topics of the text generator: weighted lists of nouns and verbs.
//!
//! Promise: lower-case ASCII words only, separated by white space. Refuses nothing: whether a word is usable under
//! a tokenizer is decided when a [`crate::PieceTable`] is built. Changing a list changes every prompt and the built-in tokenizer:
//! run `cargo xtask train-builtin` and renew the fingerprints on purpose.

use super::Topic;

/// All topics; the weights are shares of text blocks in percent and need not add up to 100.
pub(super) const TOPICS: [Topic; 20] = [
    Topic {
        name: "web_frontend",
        weight: 10,
        nouns: "button canvas carousel component container cookie cursor dialog dropdown element event fetch flexbox font footer form \
                fragment grid header hook icon image input keyframe label layout link margin markup menu modal mouse navbar node \
                overlay padding page palette panel pixel placeholder popup portal prop router scroll section selector session \
                sidebar skeleton slider slot snippet spinner sprite stylesheet tab table tag template theme tooltip touch \
                transition typography viewport widget wrapper browser hydration",
        verbs: "render mount style hydrate animate scroll click hover focus blur drag drop bind toggle resize paint submit prefetch \
                lazyload highlight navigate debounce",
    },
    Topic {
        name: "backend_api",
        weight: 10,
        nouns: "endpoint handler middleware request response route controller service gateway payload schema token header body \
                client server resource contract version quota limiter throttle timeout retry callback webhook context session \
                credential scope claim cursor pagination filter serializer parser validator registry adapter facade proxy \
                pipeline worker dispatcher scheduler lock mutex thread pool socket stream buffer envelope message status code \
                exception fault health probe graph resolver mutation query subscription idempotency namespace",
        verbs: "handle dispatch route validate serialize parse authorize respond reject accept throttle paginate forward invoke \
                expose register resolve intercept marshal negotiate",
    },
    Topic {
        name: "database",
        weight: 8,
        nouns: "table row column index key cursor view trigger constraint transaction commit rollback snapshot replica shard \
                partition cluster vacuum page tuple record field query plan planner optimizer join scan predicate aggregate \
                subquery procedure function sequence schema catalog tablespace checkpoint journal log lock latch deadlock \
                isolation consistency durability migration backup restore dump statistics histogram cardinality bucket hash \
                tree leaf branch root node document collection tenant ledger",
        verbs: "insert select update delete join group order index commit rollback vacuum partition shard replicate migrate query \
                scan lock merge aggregate",
    },
    Topic {
        name: "devops",
        weight: 8,
        nouns: "pipeline stage job runner artifact release rollout canary container image registry manifest chart cluster node pod \
                namespace secret volume ingress deployment replica operator controller playbook inventory role environment \
                variable workflow approval gate branch trigger webhook agent executor workspace cache layer tag digest \
                signature policy drift incident postmortem runbook pager oncall blast radius toil budget capacity quota limit \
                rotation outage mitigation change freeze window staging production",
        verbs: "deploy release roll provision automate orchestrate promote approve rollback scale restart drain cordon patch \
                configure bootstrap tear rotate trigger schedule",
    },
    Topic {
        name: "python",
        weight: 8,
        nouns: "module package function class method decorator generator iterator iterable list tuple dictionary set string \
                integer float boolean exception traceback context manager lambda closure comprehension slice index attribute \
                property descriptor metaclass instance object interpreter bytecode frame namespace scope global keyword \
                argument parameter annotation typing protocol dataclass coroutine task future loop thread process wheel \
                requirement environment virtualenv notebook cell kernel fixture assertion docstring literal expression \
                statement indentation garbage collector reference",
        verbs: "import yield raise return unpack iterate append extend slice format annotate decorate inherit override await gather \
                pickle subclass instantiate enumerate",
    },
    Topic {
        name: "javascript",
        weight: 8,
        nouns: "promise closure prototype callback function arrow module bundle bundler package script engine runtime event loop \
                microtask queue array object string number symbol map set iterator generator proxy reflection getter setter \
                class constructor instance method property spread destructuring template literal operator expression scope \
                hoisting variable constant binding listener emitter stream buffer worker thread promise chain rejection \
                transpiler polyfill linter formatter compiler declaration interface type generic enum union decorator",
        verbs: "resolve reject await bind call apply spread destructure transpile minify bundle import export assign freeze clone \
                emit listen subscribe polyfill",
    },
    Topic {
        name: "cloud",
        weight: 7,
        nouns: "region zone instance machine image bucket object blob volume snapshot disk network subnet gateway firewall rule \
                balancer listener target group policy role identity account tenant project subscription billing invoice cost \
                budget reservation discount spot fleet autoscaler function trigger queue topic event stream archive tier \
                durability availability failover recovery endpoint peering tunnel address domain zone record certificate vault \
                template stack drift blueprint landing catalog marketplace",
        verbs: "provision launch terminate resize attach detach mount allocate reserve tag bill archive replicate failover peer \
                isolate autoscale hibernate migrate encrypt",
    },
    Topic {
        name: "data_science",
        weight: 6,
        nouns: "dataset feature label sample model weight bias layer gradient loss epoch batch tensor matrix vector embedding \
                kernel tree forest cluster centroid regression classifier precision recall accuracy threshold curve \
                distribution variance mean median quantile outlier correlation covariance prior posterior likelihood entropy \
                signal noise residual fold split validation baseline experiment hypothesis notebook pipeline frame column plot \
                axis legend histogram attention transformer encoder decoder token vocabulary prompt inference",
        verbs: "train fit predict evaluate sample normalize standardize encode decode cluster classify regress tune visualize plot \
                label impute augment regularize converge",
    },
    Topic {
        name: "testing",
        weight: 5,
        nouns: "test suite case fixture assertion mock stub spy fake double coverage branch path scenario step feature oracle \
                property invariant seed shrinker fuzzer corpus mutation regression snapshot baseline harness runner report \
                failure flake retry timeout setup teardown parameter matrix environment expectation matcher contract boundary \
                edge equivalence partition acceptance integration unit smoke sanity load stress soak benchmark profile \
                defect bug ticket triage severity reproduction",
        verbs: "assert verify mock stub expect check fuzz shrink cover reproduce isolate compare simulate inject skip repeat fail \
                pass record measure",
    },
    Topic {
        name: "security",
        weight: 5,
        nouns: "password secret key cipher digest hash salt nonce signature certificate authority chain trust token claim scope \
                role permission policy audit trail session cookie origin header sandbox firewall intrusion alert attack \
                surface vector threat model vulnerability patch advisory exposure disclosure scanner sanitizer injection \
                overflow escape privilege boundary perimeter tunnel handshake entropy vault rotation expiry revocation \
                identity factor challenge biometrics keychain enclave attestation provenance compliance",
        verbs: "encrypt decrypt sign verify hash rotate revoke grant deny audit sanitize escape authenticate authorize harden patch \
                scan quarantine expire mitigate",
    },
    Topic {
        name: "git_vcs",
        weight: 5,
        nouns: "commit branch tag merge rebase conflict diff patch hunk stash index tree blob object reference remote upstream \
                fork clone origin head history log blame author committer message hook submodule worktree checkout bisect \
                cherry squash review reviewer approval comment thread pull request issue milestone release changelog \
                signature snapshot ancestor parent child root revision repository workspace subtree ignore attribute filter \
                packfile delta lineage",
        verbs: "commit push pull fetch merge rebase squash revert checkout branch tag clone fork stash bisect blame amend review \
                approve resolve",
    },
    Topic {
        name: "linux_shell",
        weight: 5,
        nouns: "shell process signal pipe redirect file directory path permission owner group mode link inode mount device \
                terminal prompt alias variable export script loop argument option flag exit status job daemon service unit timer \
                journal log kernel module driver interrupt syscall descriptor socket semaphore memory page swap cache buffer \
                scheduler priority load uptime disk partition archive tarball checksum pattern glob regex editor pager manual \
                package mirror locale",
        verbs: "grep pipe redirect mount chmod copy move rename list find sort count kill spawn fork exec trap export source tail \
                archive",
    },
    Topic {
        name: "networking",
        weight: 4,
        nouns: "packet frame segment datagram header payload port socket address subnet mask route router switch bridge gateway hop \
                latency bandwidth throughput jitter loss congestion window acknowledgement retransmission handshake session \
                stream multiplexing tunnel proxy firewall resolver record zone lease broadcast multicast neighbor peer link \
                interface queue shaper policer fabric spine leaf trunk tag checksum fragment timeout keepalive backoff probe \
                beacon carrier antenna spectrum",
        verbs: "route forward switch bridge resolve connect listen bind accept send receive acknowledge retransmit encapsulate \
                fragment reassemble throttle shape ping trace",
    },
    Topic {
        name: "monitoring",
        weight: 4,
        nouns: "metric counter gauge histogram summary label series sample scrape target exporter collector agent dashboard panel \
                graph alert rule threshold anomaly baseline trend forecast incident pager escalation silence runbook trace span \
                context baggage log event level severity retention rollup aggregation cardinality percentile objective \
                indicator budget burn rate heartbeat probe uptime availability saturation error latency traffic annotation \
                correlation topology inventory heatmap",
        verbs: "observe alert scrape export collect aggregate sample trace log notify escalate silence correlate visualize record \
                report detect diagnose page watch",
    },
    Topic {
        name: "performance",
        weight: 4,
        nouns: "latency throughput bottleneck hotspot profile profiler sample flame graph cache miss hit line prefetch branch \
                prediction pipeline stall cycle instruction register vector lane core thread contention lock queue backlog \
                batch window tail percentile median jitter pause collector heap stack allocation arena slab pool copy buffer \
                bandwidth memory locality alignment padding page fault swap load saturation utilization concurrency \
                parallelism speedup overhead budget regression benchmark warmup",
        verbs: "optimize profile measure cache batch vectorize parallelize inline unroll prefetch allocate reuse amortize pin \
                saturate benchmark tune warm stall contend",
    },
    Topic {
        name: "documentation",
        weight: 3,
        nouns: "guide tutorial manual reference chapter section paragraph sentence heading outline index glossary term definition \
                example snippet sample diagram figure caption footnote citation appendix preface summary abstract audience \
                reader author editor reviewer draft revision style tone voice grammar spelling template page site search \
                navigation sidebar anchor link markdown changelog readme license faq checklist recipe walkthrough concept task \
                topic translation locale screenshot video transcript",
        verbs: "describe explain document write edit revise outline summarize annotate illustrate publish translate clarify cite \
                define review proofread rephrase organize index",
    },
    Topic {
        name: "build_systems",
        weight: 3,
        nouns: "target rule recipe dependency graph artifact cache compiler linker assembler archive library binary object symbol \
                header source flag option toolchain sysroot profile feature workspace crate package version lockfile registry \
                mirror checksum sandbox action action output input manifest script plugin generator macro template preset \
                configuration platform architecture host cross bundle installer release stamp timestamp parallelism job worker \
                daemon watcher increment",
        verbs: "compile link build assemble package bundle install configure generate cache invalidate rebuild strip archive \
                vendor pin resolve emit clean stage",
    },
    Topic {
        name: "storage",
        weight: 3,
        nouns: "disk drive block sector track cylinder volume partition filesystem inode extent journal snapshot clone replica \
                mirror stripe parity array controller cache tier archive backup restore retention dedup compression encryption \
                checksum scrub corruption latency throughput queue depth endurance wear leveling flash cell page erase \
                namespace bucket object key metadata manifest segment log compaction tombstone lease quorum erasure shard \
                placement rack shelf tape vault",
        verbs: "write read flush sync append compact replicate stripe mirror format mount allocate trim scrub restore persist \
                evict tier compress verify",
    },
    Topic {
        name: "message_queues",
        weight: 3,
        nouns: "queue topic broker producer consumer partition offset message payload header key exchange binding route \
                subscription group rebalance lag backlog retention compaction acknowledgement redelivery poison letter dead \
                delay schedule priority batch window stream event sequence ordering duplicate idempotence transaction outbox \
                inbox saga choreography workflow replay checkpoint cursor snapshot schema registry envelope correlation reply \
                channel fanout filter connector sink source bridge throughput",
        verbs: "publish subscribe consume produce enqueue dequeue acknowledge redeliver rebalance replay commit batch route fan \
                drain poll push deliver order purge",
    },
    Topic {
        name: "mobile",
        weight: 3,
        nouns: "screen gesture swipe tap keyboard sensor camera battery notification badge permission intent activity fragment \
                lifecycle view layout constraint adapter list cell tab bar drawer sheet toast dialog animation transition frame \
                density orientation locale accessibility font contrast store listing review rating build flavor bundle \
                signature keystore simulator emulator device tablet phone watch widget shortcut deeplink offline sync storage \
                cache telemetry crash symbol attribution",
        verbs: "swipe tap pinch rotate notify install launch resume suspend sync cache animate scroll vibrate locate scan share \
                upload download pair",
    },
];
