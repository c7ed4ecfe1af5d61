//! The question bank: long technical requests that make a model write until it is cut off.
//!
//! Promise: at least 25 distinct questions, plain ASCII without line breaks, each asking for a long and detailed
//! answer. Every prompt that is measured ends in two newlines and one of them, chosen by request number modulo
//! [`QUESTIONS`]`.len()`; warm-up prompts carry none.

/// All questions; the order is part of the meaning of a seed.
pub const QUESTIONS: [&str; 30] = [
    "Design a rate limiter for a public interface that is served from several regions. Compare at least four algorithms, explain how the counters are shared between regions, what happens when the network between two regions is cut, and write the core of the chosen solution with comments on every decision. Answer at length and leave no step out.",
    "Write a complete guide to finding memory leaks in a long running server process. Cover what to measure first, how to read heap snapshots, the most common causes in at least three programming languages, and work through one realistic example from the first alert to the verified repair in full detail.",
    "Explain in depth how a relational database executes a query with three joins, a grouping and a sort. Go through parsing, planning, cost estimation, the choice between join algorithms, memory limits and spilling to disk, and illustrate each stage with a worked example including sizes and numbers.",
    "Plan the migration of a large monolithic application to independent services without any interruption. Describe the order of the steps, how data is split, how consistency is kept during the transition, what can go wrong at each step and how to go back, and finish with a detailed timetable for two years.",
    "Describe the complete path of a single web request from the moment a person presses a key until the page is painted. Treat name resolution, connection setup, encryption, load balancing, server processing, caching and rendering, and give typical durations with an explanation for each of them.",
    "Develop a thorough testing strategy for a payment system. Discuss unit, integration, contract, property based and load tests, how test data is produced, how time and randomness are controlled, and write at least six example tests with an explanation of the error that each of them would catch.",
    "Compare optimistic and pessimistic concurrency control in great detail. Explain isolation levels, the anomalies that each level permits, how multiple versions of a row are kept, and show with long step by step schedules of two and three transactions what each approach does.",
    "Write an extensive tutorial on building an incremental compiler for a small language. Cover the lexer, the parser, name resolution, type checking, the dependency graph between queries, invalidation and error reporting, with code for the central data structures and the reasons behind them.",
    "Explain how a distributed consensus protocol elects a leader, replicates a log and changes its membership. Discuss safety and liveness separately, walk through at least five failure scenarios message by message, and describe the engineering problems that a real implementation has to solve.",
    "Produce a detailed operations manual for a cluster that stores two hundred terabytes of objects. Include capacity planning, replacement of disks and machines, upgrades, backup and restore drills, monitoring with concrete thresholds, and the complete procedure for three serious incidents.",
    "Discuss how modern language models are served efficiently. Explain prefill and decode, batching, caching of keys and values, paging of memory, speculative decoding, quantisation and parallelism over several devices, and derive with numbers how each of these changes latency and throughput.",
    "Create a comprehensive security review of a web shop with accounts, payments and an administration area. List the assets and the attackers, go through authentication, authorisation, input handling, secrets, dependencies and logging, and give for each weakness a realistic attack and a precise remedy.",
    "Explain the design of a high performance message queue from first principles. Treat the storage format, batching, acknowledgement, ordering, consumer groups, replication, retention and exactly once processing, and justify each decision with the alternatives that were rejected and their costs.",
    "Write a long and careful introduction to profiling on a modern processor. Explain sampling, counters, cache misses, branch prediction, memory bandwidth and lock contention, show how to read a flame graph, and optimise one small program in at least six measured and explained steps.",
    "Develop the architecture of a collaborative text editor that also works without a connection. Compare operational transformation with replicated data types, explain storage, presence, permissions, undo and history, and present the core merge procedure together with a proof sketch of convergence.",
    "Describe how to build a data platform that receives five million events per second. Cover ingestion, schemas and their evolution, stream and batch processing, late data, storage layout, cost control, quality checks and access rules, and explain in detail how to replay one month of history.",
    "Explain garbage collection in depth. Describe reference counting, tracing, generations, concurrent marking, compaction, barriers and pauses, compare the trade offs for servers, games and phones, and write an annotated implementation of a simple collector together with an analysis of its behaviour.",
    "Give a full course on the design of public programming interfaces. Discuss naming, versions, errors, pagination, filtering, long running operations, idempotence, limits and documentation, and redesign one badly made interface step by step, explaining what every change improves for its users.",
    "Write an exhaustive comparison of approaches to configuration management for thousands of machines. Treat declarative and imperative styles, drift, secrets, staged rollout, testing and emergency changes, and describe with complete examples how you would introduce the best approach in an old company.",
    "Explain how search engines index and rank documents. Cover tokenisation, inverted indexes, compression, scoring, learned embeddings, approximate neighbour search, freshness and evaluation, and design a system for one hundred million documents with estimates of memory, disk and latency for every part.",
    "Describe the inner workings of a container runtime. Explain namespaces, control groups, layered file systems, image formats, networking, security profiles and the life of a container from start to removal, and write a minimal runtime with detailed remarks about everything that it leaves out.",
    "Prepare a detailed lecture on numerical stability. Explain floating point formats, rounding, cancellation, condition numbers and error bounds, show at least eight examples of computations that go wrong, repair each of them, and discuss how lower precision affects the training of large models.",
    "Design the complete monitoring of a system with sixty services. Explain which signals to collect, how to name them, how to choose objectives and budgets, how alerts are derived and tested, how traces are sampled, and tell the story of three long incidents that the design would have shortened.",
    "Explain networking for application developers in great depth. Treat addresses, routing, congestion control, buffering, head of line blocking, connection reuse, proxies, timeouts and encryption, and analyse step by step five slow applications whose cause lies somewhere in these layers.",
    "Write a thorough handbook for reviewing code in a large team. Discuss goals, size of changes, order of reading, tone, automation, architecture questions, performance and security, give many realistic example comments with better alternatives, and describe how to measure whether reviews are useful.",
    "Develop a scheduling system for batch jobs on a shared cluster with accelerators. Cover queues, priorities, fairness, preemption, placement, gang scheduling, fault tolerance and accounting, present the main algorithms in code, and simulate by hand a day with twelve competing jobs.",
    "Explain the theory and practice of caching at every level, from processor registers to content delivery networks. Discuss locality, replacement policies, invalidation, stampedes, consistency, warming and sizing, derive expected hit rates for several access patterns, and collect the mistakes that teams make most often.",
    "Describe how to bring a mobile application with ten million users to excellent quality. Treat architecture, offline storage, synchronisation, battery, start time, accessibility, localisation, staged release, crash analysis and experiments, and give a concrete plan for each quarter of one year.",
    "Write a detailed explanation of public key infrastructure. Cover keys, certificates, chains, revocation, transparency logs, automatic renewal, mutual authentication and hardware protection, follow one certificate through its whole life, and explain how to recover when the key of an authority is stolen.",
    "Explain how to estimate, build and verify a recommendation system for a large library of films and books. Discuss data collection, candidate generation, ranking, exploration, feedback loops, fairness, evaluation before and after release, and describe every component with inputs, outputs and failure modes.",
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn bank_is_large_distinct_plain_and_long() {
        let set: HashSet<_> = QUESTIONS.iter().collect();
        assert_eq!(set.len(), QUESTIONS.len());
        for q in QUESTIONS {
            assert!(
                q.is_ascii() && !q.contains('\n') && q.split(' ').count() >= 35,
                "{q}"
            );
            assert_eq!(q.trim(), q);
        }
    }
}
