//! A stream of tokens as server-sent events.
//!
//! Promises, unless the server's [forms](crate::form) say otherwise, the shape that vLLM sends: a role-only
//! chunk with empty content first (chat), sent with the first token; one chunk per token; the finish reason on
//! the last of them; usage in a chunk without choices; `[DONE]`. Faults that concern the stream are acted out
//! here.

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Value, json};

use super::super::body::Step;
use super::super::response::Keeper;
use super::{
    APART, FINGERPRINT, Head, Shape, TOOL_CLOSES, TOOL_OPENS, error_json, extension, generate_json,
    put_json_string, usage_json,
};
use crate::config::UsageForm;
use crate::fault::FaultKind;
use crate::form::StreamForms;
use crate::model::Usage;
use crate::service::{FinishReason, SimEvent, SimService, SimStream};
use crate::slotted::Slotted;

/// What split UTF-8 puts behind each word: characters of two, three and four bytes.
const MULTI_BYTE: &str = "é東😀";

/// What a token's text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Reasoning,
    Answer,
    Tool,
}

/// What the client asked a stream to tell at its end.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Wanted {
    pub(in super::super) usage: bool,
    /// SGLang's split of the cached tokens.
    pub(in super::super) cached_split: bool,
}

/// Writes a request's events as chunks.
#[derive(Debug)]
pub(in super::super) struct ChunkWriter {
    service: SimService,
    head: Head,
    /// `data: {"id":…,"model":…,` up to where the choices begin.
    head_bytes: Bytes,
    wanted: Wanted,
    fault: Option<FaultKind>,
    finish: FinishReason,
    output_tokens: u32,
    /// Text of the tokens that wait for others of their chunk, and how many they are.
    text: String,
    n_tokens: u32,
    /// The text chunk that waits for the usage that rides on it.
    last: Option<(Kind, String)>,
    /// The chunk with the finish reason still has to be sent.
    owes_finish: bool,
    /// The role still has to be sent, on the next text.
    owes_role: bool,
    /// The chunk that opens a tool call was sent.
    tool_is_open: bool,
    /// An event that waits for the one it shares a frame with.
    held: Option<Bytes>,
    /// The stream has ended early on purpose.
    over: bool,
    /// Keeps the answer for the next request of its kind.
    keeper: Option<Keeper>,
}

impl ChunkWriter {
    pub(in super::super) fn new(
        service: SimService,
        stream: &SimStream,
        head: Head,
        wanted: Wanted,
        fault: Option<FaultKind>,
    ) -> Self {
        let map = Value::Object(head.object(head.shape.chunk_object())).to_string();
        let open = map.strip_suffix('}').unwrap_or(&map);
        let output_tokens = stream.output_tokens();
        let comma = if head.shape.is_generate() { "" } else { "," };
        let start = head.shape.record_start();
        Self {
            head_bytes: Bytes::from(format!("{start}{open}{comma}")),
            wanted: Wanted {
                usage: wanted.usage && fault != Some(FaultKind::NoUsage),
                ..wanted
            },
            head,
            service,
            fault,
            finish: stream.finish_reason(),
            output_tokens,
            text: String::new(),
            n_tokens: 0,
            last: None,
            owes_finish: false,
            owes_role: false,
            tool_is_open: false,
            held: None,
            over: false,
            keeper: None,
        }
    }

    /// Keeps the answer when it is complete.
    pub(in super::super) fn keeping(mut self, keeper: Option<Keeper>) -> Self {
        self.keeper = keeper;
        self
    }

    fn forms(&self) -> &StreamForms {
        &self.service.config().forms
    }

    fn usage_form(&self) -> UsageForm {
        self.service.config().usage
    }

    /// What ends an event: an empty line.
    fn end_of_event(&self) -> &'static str {
        if self.forms().crlf && self.head.shape != Shape::GenerateLines {
            "\r\n\r\n"
        } else {
            self.head.shape.record_end()
        }
    }

    /// A comment, which clients must overlook.
    pub(in super::super) fn comment(&self) -> Bytes {
        Bytes::from(format!(": keep-alive{}", self.end_of_event()))
    }

    /// Appends what `event` sends.
    pub(in super::super) fn write(&mut self, event: SimEvent, steps: &mut Slotted<Step>) {
        if self.over {
            return;
        }
        match event {
            SimEvent::Token { text, position, at } => {
                self.service.count_token(at);
                self.token(&text, position, steps);
            }
            SimEvent::Done { usage, .. } => self.done(&usage, steps),
        }
    }

    fn kind(&self, position: u32) -> Kind {
        if self.head.reasoning_tokens.is_some_and(|n| position < n) {
            Kind::Reasoning
        } else if self.head.tool.is_some() {
            Kind::Tool
        } else {
            Kind::Answer
        }
    }

    fn token(&mut self, word: &str, position: u32, steps: &mut Slotted<Step>) {
        if let Some(keeper) = &mut self.keeper {
            keeper.push(word);
        }
        if position == 0 {
            self.begin(steps);
            self.interrupt(0, steps);
        }
        if self.over || self.fault == Some(FaultKind::Empty) {
            return;
        }
        self.text.push_str(word);
        if self.splits_utf8() {
            self.text.push_str(MULTI_BYTE);
        }
        self.n_tokens += 1;
        let (kind, next) = (self.kind(position), position + 1);
        let is_last = next == self.output_tokens;
        let is_full = self.n_tokens >= self.forms().tokens_per_chunk.get();
        if is_full || is_last || self.kind(next) != kind || self.is_interrupted_at(next) {
            self.n_tokens = 0;
            let mut text = std::mem::take(&mut self.text);
            let rides = self.wanted.usage && !self.head.shape.is_generate();
            let rides = rides && self.usage_form() == UsageForm::FinalOnly;
            if is_last && rides && !self.finishes_apart() {
                self.last = Some((kind, text));
                return;
            }
            self.chunk(kind, &text, is_last, "", steps);
            text.clear();
            self.text = text;
            self.owes_finish = is_last && self.finishes_apart();
        }
        self.interrupt(next, steps);
    }

    /// Whether the finish reason comes in a chunk of its own.
    fn finishes_apart(&self) -> bool {
        self.forms().finish_chunk && !self.head.shape.is_generate()
    }

    /// A chunk without text that says why the output ended.
    fn end_of_text(&mut self, reason: &'static str, extra: &str, steps: &mut Slotted<Step>) {
        let empty = match self.head.shape {
            Shape::Chat => r#""delta":{}"#,
            _ => r#""text":"""#,
        };
        let rest = format!(
            r#""choices":[{{"index":0,{empty},"logprobs":null,"finish_reason":"{reason}","stop_reason":null}}]{extra}"#
        );
        self.event(&rest, steps);
    }

    /// What a chat begins with.
    fn begin(&mut self, steps: &mut Slotted<Step>) {
        if self.head.shape != Shape::Chat {
            return;
        }
        if !self.forms().role_chunk {
            self.owes_role = true;
            return;
        }
        self.choice(&json!({"role": "assistant", "content": ""}), steps);
    }

    fn done(&mut self, usage: &Usage, steps: &mut Slotted<Step>) {
        if let Some(keeper) = self.keeper.take() {
            keeper.keep();
        }
        let form = self.usage_form();
        let report = self
            .wanted
            .usage
            .then(|| usage_json(form, usage, self.head.reasoning_tokens))
            .flatten();
        if self.head.shape.is_generate() {
            // A record without text that says what is known now.
            let tokens = report.map(|_| usage.completion_tokens);
            let record = generate_json("", false, tokens).to_string();
            self.event(record.trim_matches(['{', '}']), steps);
            return self.end(steps);
        }
        if self.fault == Some(FaultKind::Empty) {
            self.end_of_text("stop", "", steps);
        }
        let rides = form == UsageForm::FinalOnly && (self.last.is_some() || self.owes_finish);
        let riding = match &report {
            Some(report) if rides => format!(",\"usage\":{report}"),
            _ => String::new(),
        };
        if let Some((kind, text)) = self.last.take() {
            self.chunk(kind, &text, true, &riding, steps);
        }
        if std::mem::take(&mut self.owes_finish) {
            self.end_of_text(self.head.finish(self.finish), &riding, steps);
        }
        let split = self
            .wanted
            .cached_split
            .then(|| extension(form, &self.service.config().engine, usage))
            .flatten();
        if let Some(split) = split {
            self.event(&format!("\"choices\":[],\"sglext\":{split}"), steps);
        }
        if let Some(report) = report.filter(|_| !rides) {
            let rest = format!(
                "\"choices\":[],\"usage\":{report},\"system_fingerprint\":\"{FINGERPRINT}\""
            );
            self.event(&rest, steps);
        }
        self.end(steps);
    }

    /// What ends a stream.
    fn end(&mut self, steps: &mut Slotted<Step>) {
        let has_marker = !self.head.shape.stream_end().is_empty();
        if has_marker && self.forms().done && self.fault != Some(FaultKind::NoDone) {
            let done = format!("data: [DONE]{}", self.end_of_event());
            self.frame(Bytes::from(done), None, steps);
        }
        if let Some(held) = self.held.take() {
            steps.push_back(Step::Data(held));
        }
    }

    fn splits_utf8(&self) -> bool {
        self.forms().split_utf8 || self.fault == Some(FaultKind::SplitUtf8)
    }

    /// A chunk with text: built by hand, because it is the one that is sent thousands of times a second.
    fn chunk(
        &mut self,
        kind: Kind,
        text: &str,
        is_last: bool,
        extra: &str,
        steps: &mut Slotted<Step>,
    ) {
        let arguments;
        let mut text = text;
        if kind == Kind::Tool {
            let opens = if self.open_tool(steps) {
                TOOL_OPENS
            } else {
                ""
            };
            arguments = format!("{opens}{text}{}", if is_last { TOOL_CLOSES } else { "" });
            text = &arguments;
        }
        for _ in 0..self.forms().empty_chunks {
            match self.head.shape {
                Shape::Chat => self.choice(&json!({"content": ""}), steps),
                Shape::Completions => {
                    let choice = json!([{"index": 0, "text": "", "finish_reason": null}]);
                    self.event(&format!("\"choices\":{choice}"), steps);
                }
                Shape::GenerateEvents | Shape::GenerateLines => self.event("\"text\":\"\"", steps),
            }
        }
        let shape = self.head.shape;
        let mut bytes = BytesMut::with_capacity(self.head_bytes.len() + text.len() + 200);
        bytes.put_slice(&self.head_bytes);
        match shape {
            Shape::Chat => {
                bytes.put_slice(br#""choices":[{"index":0,"delta":{"#);
                if std::mem::take(&mut self.owes_role) {
                    bytes.put_slice(br#""role":"assistant","#);
                }
                bytes.put_slice(self.opens(kind).as_bytes());
                put_json_string(&mut bytes, text);
                if kind == Kind::Tool {
                    bytes.put_slice(b"}}]");
                }
                bytes.put_u8(b'}');
            }
            Shape::Completions => {
                bytes.put_slice(br#""choices":[{"index":0,"text":"#);
                put_json_string(&mut bytes, text);
            }
            Shape::GenerateEvents | Shape::GenerateLines => {
                bytes.put_slice(br#""text":"#);
                put_json_string(&mut bytes, text);
            }
        }
        if !shape.is_generate() {
            bytes.put_slice(br#","logprobs":null,"finish_reason":"#);
            let finishes = is_last && !self.finishes_apart();
            if finishes {
                put_json_string(&mut bytes, self.head.finish(self.finish));
            } else {
                bytes.put_slice(b"null");
            }
            if finishes || shape == Shape::Completions {
                bytes.put_slice(br#","stop_reason":null"#);
            }
            bytes.put_slice(br#","token_ids":null}]"#);
        }
        bytes.put_slice(extra.as_bytes());
        bytes.put_u8(b'}');
        bytes.put_slice(self.end_of_event().as_bytes());
        // Copied into a piece of exactly its length: one with room left needs a second allocation to be shared.
        let bytes = Bytes::copy_from_slice(&bytes);
        // The first multi-byte character's second byte.
        let inside = self
            .splits_utf8()
            .then(|| bytes.iter().position(|byte| *byte >= 0x80))
            .flatten()
            .map(|at| at + 1);
        self.frame(bytes, inside, steps);
    }

    /// What stands in a delta before a text of this kind.
    fn opens(&self, kind: Kind) -> &'static str {
        use crate::form::ReasoningField::{Reasoning, ReasoningContent};
        match (
            kind,
            self.forms().reasoning.map(|reasoning| reasoning.field),
        ) {
            (Kind::Reasoning, Some(ReasoningContent)) => r#""reasoning_content":"#,
            (Kind::Reasoning, Some(Reasoning)) => r#""reasoning":"#,
            (Kind::Tool, _) => r#""tool_calls":[{"index":0,"function":{"arguments":"#,
            (Kind::Answer, _) | (Kind::Reasoning, None) => r#""content":"#,
        }
    }

    /// Sends the chunk that opens a tool call, if it was not sent yet.
    fn open_tool(&mut self, steps: &mut Slotted<Step>) -> bool {
        if std::mem::replace(&mut self.tool_is_open, true) {
            return false;
        }
        let mut delta = json!({"tool_calls": [{
            "index": 0,
            "id": self.head.tool_call_id(),
            "type": "function",
            "function": {"name": self.head.tool, "arguments": ""},
        }]});
        if std::mem::take(&mut self.owes_role) {
            delta["role"] = json!("assistant");
        }
        self.choice(&delta, steps);
        true
    }

    /// A chat chunk with this delta.
    fn choice(&mut self, delta: &Value, steps: &mut Slotted<Step>) {
        let rest = format!(
            r#""choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":null}}]"#
        );
        self.event(&rest, steps);
    }

    /// An event whose JSON goes on with `rest` behind the common head.
    fn event(&mut self, rest: &str, steps: &mut Slotted<Step>) {
        let mut bytes = BytesMut::with_capacity(self.head_bytes.len() + rest.len() + 5);
        bytes.put_slice(&self.head_bytes);
        bytes.put_slice(rest.as_bytes());
        bytes.put_u8(b'}');
        bytes.put_slice(self.end_of_event().as_bytes());
        self.frame(bytes.freeze(), None, steps);
    }

    /// Sends an event's bytes in the frames that are asked for; `inside` is a place within a character.
    fn frame(&mut self, bytes: Bytes, inside: Option<usize>, steps: &mut Slotted<Step>) {
        if let Some(inside) = inside {
            split_at(&bytes, inside, steps);
            return;
        }
        match self.fault {
            Some(FaultKind::Joined) => match self.held.take() {
                None => self.held = Some(bytes),
                Some(held) => {
                    let mut both = BytesMut::with_capacity(held.len() + bytes.len());
                    both.put_slice(&held);
                    both.put_slice(&bytes);
                    steps.push_back(Step::Data(both.freeze()));
                }
            },
            Some(FaultKind::Split) => split_at(&bytes, bytes.len() / 2, steps),
            Some(FaultKind::Drip) => {
                steps.extend((0..bytes.len()).map(|at| Step::Data(bytes.slice(at..=at))));
            }
            _ => steps.push_back(Step::Data(bytes)),
        }
    }

    fn is_interrupted_at(&self, tokens: u32) -> bool {
        matches!(
            self.fault,
            Some(
                FaultKind::Cut { tokens: at }
                    | FaultKind::Stall { tokens: at, .. }
                    | FaultKind::ErrorEvent { tokens: at }
            ) if at == tokens
        )
    }

    /// Acts out what happens after `tokens` tokens.
    fn interrupt(&mut self, tokens: u32, steps: &mut Slotted<Step>) {
        if !self.is_interrupted_at(tokens) {
            return;
        }
        match self.fault {
            Some(FaultKind::Cut { .. }) => {
                steps.extend([Step::Pause(APART), Step::Abort]);
                self.over = true;
            }
            Some(FaultKind::Stall { pause, .. }) => {
                steps.push_back(pause.map_or(Step::Forever, Step::Pause));
            }
            Some(FaultKind::ErrorEvent { .. }) => {
                let message = "the engine failed (on purpose)";
                let error = error_json(500, "InternalServerError", None, message);
                let (start, end) = (self.head.shape.record_start(), self.end_of_event());
                let event = format!("{start}{error}{end}");
                steps.push_back(Step::Data(Bytes::from(event)));
                if !self.head.shape.stream_end().is_empty() {
                    let done = format!("data: [DONE]{end}");
                    steps.push_back(Step::Data(Bytes::from(done)));
                }
                self.over = true;
            }
            _ => {}
        }
    }
}

fn split_at(bytes: &Bytes, at: usize, steps: &mut Slotted<Step>) {
    steps.extend([
        Step::Data(bytes.slice(..at)),
        Step::Pause(APART),
        Step::Data(bytes.slice(at..)),
    ]);
}
