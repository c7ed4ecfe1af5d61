//! The committed built-in tokenizer is what the word lists give.

use crate::families;

#[path = "../../examples/train_builtin.rs"]
#[expect(dead_code, reason = "the example's main is not called here")]
mod train_builtin;

#[test]
fn training_again_gives_the_committed_bytes() {
    let committed = std::fs::read_to_string(train_builtin::asset_path()).unwrap();
    let same = train_builtin::train().unwrap() == committed;
    assert!(
        same,
        "run `cargo xtask train-builtin` and look at the difference"
    );
    assert!(committed.len() < 300_000, "{} bytes", committed.len());
}

#[test]
fn measuring_again_gives_the_committed_table() {
    let tokenizer = std::fs::read_to_string(train_builtin::asset_path()).unwrap();
    let committed = std::fs::read(train_builtin::pieces_path()).unwrap();
    let same = train_builtin::measure(&tokenizer).unwrap() == committed;
    assert!(same, "run `cargo xtask train-builtin`");
}

#[test]
fn nearly_every_word_of_ours_is_one_token() {
    let tokenizer = families::builtin();
    let words = workload::words::all();
    let ones = words
        .iter()
        .filter(|w| tokenizer.count(&format!("the {w}")) == 2)
        .count();
    assert!(ones * 100 >= words.len() * 98, "{ones} of {}", words.len());
}

#[test]
fn any_text_is_encoded_and_counted_byte_by_byte_if_need_be() {
    let tokenizer = families::builtin();
    assert!(tokenizer.count("Ünïcödé 数字 \u{1F600} \0 \r\n\t 12345 ABC") > 20);
    assert_eq!(tokenizer.count(""), 0);
}
