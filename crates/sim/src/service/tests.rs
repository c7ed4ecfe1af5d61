//! The service under a paused clock.

use super::*;
use crate::model::ServiceModel;

fn ids(first: u32, n: u32) -> Vec<u32> {
    (first..first + n).collect()
}

async fn finish(mut stream: SimStream) -> (Vec<Duration>, crate::model::Usage) {
    let mut times = Vec::new();
    while let Some(event) = stream.next().await {
        match event {
            SimEvent::Token { at, .. } => times.push(at),
            SimEvent::Done { usage, .. } => return (times, usage),
        }
    }
    panic!("the stream ended without its end");
}

#[tokio::test(start_paused = true)]
async fn a_request_streams_its_tokens_at_the_model_times() {
    let mut config = SimConfig::demo();
    config.engine.service = ServiceModel::Linear {
        per_active: Duration::from_millis(100),
        per_token: Duration::from_millis(30),
    };
    let service = SimService::new(config).unwrap();
    let started = Instant::now();
    let origin = service.now();
    let stream = service
        .submit(SimRequest::ids(ids(0, 100), 4))
        .await
        .unwrap();
    let (times, usage) = finish(stream).await;
    let since: Vec<_> = times.iter().map(|at| (*at - origin).as_millis()).collect();
    assert_eq!(since, [100, 130, 160, 190]);
    assert_eq!(started.elapsed().as_millis(), 190);
    assert_eq!(
        (
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.cached_tokens
        ),
        (100, 4, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_dropped_stream_cancels_its_request() {
    let service = SimService::new(SimConfig::demo()).unwrap();
    let mut stream = service
        .submit(SimRequest::ids(ids(0, 100), 1000))
        .await
        .unwrap();
    assert!(matches!(
        stream.next().await,
        Some(SimEvent::Token { position: 0, .. })
    ));
    assert_eq!(service.stats().await.unwrap().running, 1);
    drop(stream);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let stats = service.stats().await.unwrap();
    assert_eq!((stats.running, stats.cancelled), (0, 1));
    assert_eq!(service.requests()[0].state, RequestState::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn a_speed_beyond_its_bounds_is_refused_and_one_within_them_never_overruns_the_clock() {
    for scale in [0.0, -1.0, 1e-300, 1e300, f64::NAN, f64::INFINITY] {
        let mut config = SimConfig::demo();
        config.time_scale = scale;
        let refused = SimService::new(config);
        assert!(
            matches!(refused, Err(ServiceError::TimeScale { .. })),
            "{scale} was taken"
        );
    }
    let mut config = SimConfig::demo();
    config.time_scale = *TIME_SCALES.start();
    config.engine.service = ServiceModel::Linear {
        per_active: Duration::from_secs(1_000_000_000),
        per_token: Duration::from_secs(1_000_000_000),
    };
    let service = SimService::new(config).unwrap();
    let request = SimRequest::ids(ids(0, 100), 1_000_000);
    let _stream = service.submit(request).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(service.stats().await.unwrap().running, 1);
}

#[tokio::test(start_paused = true)]
async fn the_time_scale_divides_real_time_only() {
    let mut config = SimConfig::demo();
    config.engine.service = ServiceModel::Fixed {
        total: Duration::from_secs(10),
    };
    config.time_scale = 10.0;
    let service = SimService::new(config).unwrap();
    let started = Instant::now();
    let stream = service
        .submit(SimRequest::ids(ids(0, 32), 5))
        .await
        .unwrap();
    let (times, _) = finish(stream).await;
    assert_eq!(started.elapsed(), Duration::from_secs(1));
    assert_eq!(times.len(), 5);
    let done = service.requests()[0].done_s.unwrap();
    assert!((done - 10.0).abs() < 0.01, "{done}");
}

#[tokio::test(start_paused = true)]
async fn a_second_turn_hits_the_blocks_of_the_first_answer() {
    let service = SimService::new(SimConfig::demo()).unwrap();
    let question = "Tell me about the river and the mill and the people who live there.";
    let mut stream = service
        .submit(SimRequest::chat(question, 64))
        .await
        .unwrap();
    let mut answer = String::new();
    while let Some(event) = stream.next().await {
        if let SimEvent::Token { text, .. } = event {
            answer.push_str(&text);
        }
    }
    let message = |role: &str, content: &str| prompt::Message {
        role: role.to_owned(),
        content: content.to_owned(),
    };
    let turns = vec![
        message("user", question),
        message("assistant", &answer),
        message("user", "And then?"),
    ];
    let second = SimRequest::new(SimPrompt::Chat(turns), 4);
    let (_, usage) = finish(service.submit(second).await.unwrap()).await;
    let first = &service.requests()[0];
    let known = first.prompt_tokens.unwrap() + 63;
    assert_eq!(
        usage.cached_tokens,
        known / 16 * 16,
        "prompt and answer but its last token were computed"
    );
}

#[tokio::test(start_paused = true)]
async fn same_prompts_and_seed_give_the_same_words_and_counts() {
    let run = || async {
        let mut config = SimConfig::demo();
        config.engine.jitter_sigma = 0.2;
        config.eos_probability = 0.05;
        let service = SimService::new(config).unwrap();
        let mut text = String::new();
        for n in 0..5 {
            let mut stream = service
                .submit(SimRequest::ids(ids(n, 400), 64))
                .await
                .unwrap();
            while let Some(event) = stream.next().await {
                if let SimEvent::Token { text: word, .. } = event {
                    text.push_str(&word);
                }
            }
        }
        (
            text,
            service
                .requests()
                .iter()
                .map(|r| (r.prefill_s, r.completion_tokens))
                .collect::<Vec<_>>(),
        )
    };
    let (first, second) = (run().await, run().await);
    assert_eq!(first.0, second.0);
    assert_eq!(
        first.1.iter().map(|r| r.1).collect::<Vec<_>>(),
        second.1.iter().map(|r| r.1).collect::<Vec<_>>()
    );
    assert!(
        first.1.iter().any(|(_, tokens)| *tokens < Some(64)),
        "nothing ended by itself"
    );
    for (a, b) in first.1.iter().zip(&second.1) {
        assert!((a.0.unwrap() - b.0.unwrap()).abs() < 1e-9);
    }
}

#[tokio::test(start_paused = true)]
async fn requests_beyond_the_limits_are_refused_with_the_numbers() {
    let mut config = SimConfig::demo();
    config.max_model_len = TokenCount(100);
    let service = SimService::new(config).unwrap();
    let error = service
        .submit(SimRequest::ids(ids(0, 90), 11))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("maximum context length is 100"),
        "{error}"
    );
    assert!(
        service
            .submit(SimRequest::ids(ids(0, 90), 10))
            .await
            .is_ok()
    );
    assert!(service.submit(SimRequest::ids(vec![], 10)).await.is_err());
    assert_eq!(service.requests()[0].state, RequestState::Refused);
}
