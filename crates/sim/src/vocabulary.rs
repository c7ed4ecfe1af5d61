//! The words that the simulated model writes.
//!
//! Promises: printable ASCII words with a space in front; under the loaded tokenizer each is one token
//! wherever that is possible, so that text and token counts agree and a client that counts for itself gets
//! what the server reports.

use std::sync::Arc;

use crate::text::SimTokenizer;

/// Short common words; those that are one token under the loaded tokenizer are used.
const WORDS: &str = "able above across act after again age air all also always and animal another answer any \
area arm around art ask away back bad bank base bear beat become bed before begin behind best better big bird \
black block blue board boat body book both bottom box boy bring brother brown build burn business busy but buy \
call came can car care carry case cat catch cause center chance change check child city class clean clear close \
cloud cold color come common contain cook cool copy corn corner cost could count country course cover cross cry \
cup current cut dark data day dead deal deep design different direct do doctor does dog done door double down \
draw dream drive drop dry each early earth ease east easy eat edge effect egg eight either else end engine enough \
even evening event ever every exact example eye face fact fall family far farm fast father feel feet few field \
figure fill final find fine finger finish fire first fish fit five floor flow flower fly follow food foot for \
force forest form forward found four free fresh friend from front fruit full game garden gate gave general get \
girl give glass go gold good great green ground group grow half hand happy hard has have he head hear heart heat \
help her here high hill him his history hold home hope horse hot hour house how huge human hundred idea if in \
inch into iron island it job join jump just keep key kind king know lake land language large last late laugh lead \
learn leave left leg less let letter level life light like line list listen little live long look lost lot love \
low machine made main make man many map mark market master matter may mean measure meet middle might mile milk \
mind minute miss moment money month moon more morning most mother mountain mouth move much music must name nation \
nature near need never new next night nine no noon north nose note nothing notice now number object ocean of off \
office often oil old on once one only open or order other our out over own page paint pair paper part pass past \
path pattern pay people person picture piece place plan plane plant play please point poor port pose power present \
press problem produce product provide pull push put question quick quiet race rain ran reach read ready real \
record red remember rest result rich ride right ring rise river road rock roll room root rose round row rule run \
safe said sail salt same sand saw say school science sea season seat second see seed seem self sell send sense \
sentence serve set seven several shape share sheet ship short should show side sign simple since sing sister sit \
six size skin sky sleep slow small snow so soft soil some son song soon sound south space speak speed spell spend \
spring square stand star start state station stay step still stone stop store story strong study such summer sun \
sure surface swim system table tail take talk tall teach team tell ten term test than that the their them then \
there these they thing think third this those though thought three through time tiny to together told too took top \
touch toward town track trade train travel tree trip true try turn two type under unit until up us use usual valley \
value verb very view village visit voice wait walk wall want war warm was wash watch water wave way we wear weather \
week weight well went west what wheel when where which while white who whole why wide wife wild will wind window \
winter wish with woman wonder wood word work world would write yard year yellow yes yet you young your";

/// The output words and their token ids.
#[derive(Debug)]
pub struct Vocabulary {
    words: Vec<Arc<str>>,
    ids: Arc<[u32]>,
}

impl Vocabulary {
    /// Picks the words that are single tokens under `tokenizer`; all words if none is.
    #[must_use]
    pub fn new(tokenizer: &SimTokenizer) -> Self {
        let spaced = || {
            WORDS
                .split_ascii_whitespace()
                .map(|word| format!(" {word}"))
        };
        let (words, ids): (Vec<Arc<str>>, Vec<u32>) = spaced()
            .filter_map(|word| {
                let id = tokenizer.single_token(&word)?;
                Some((Arc::from(word), id))
            })
            .unzip();
        if words.is_empty() {
            // A tokenizer without any of these words: the count stays the server's, the ids are unknown.
            return Self {
                words: spaced().map(Arc::from).collect(),
                ids: Arc::from([]),
            };
        }
        Self {
            words,
            ids: ids.into(),
        }
    }

    /// The ids of the words, in order; empty if the words are not single tokens.
    #[must_use]
    pub fn ids(&self) -> Arc<[u32]> {
        Arc::clone(&self.ids)
    }

    /// The word at `entry`, modulo the number of words.
    #[must_use]
    pub fn word(&self, entry: usize) -> &Arc<str> {
        &self.words[entry % self.words.len()]
    }

    /// The number of words.
    #[must_use]
    pub fn n_words(&self) -> usize {
        self.words.len()
    }
}
