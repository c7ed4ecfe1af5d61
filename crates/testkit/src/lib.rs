//! Laws that hold for every tool, for their tests: what help looks like, which shortened options keep their meaning,
//! how wrong arguments are refused, and the commands of the pages that describe a tool.
//!
//! Promise: each function fails by a panic that names what broke, for the one tool it is given; where a law is about
//! all of something, the answer is how many there were, so that a test can require that there were some. Knows no tool
//! and none of our other crates.
//!
//! | Module | Holds |
//! |---|---|
//! | [`help`] | the help text at a width, a sentence and a heading for every option |
//! | [`line`] | command lines, as tests write them and as a tool writes them down |
//! | [`prefix`] | shortened options, by a reading of argparse's rule that is not the tools' own |
//! | [`refusal`] | a program that is called with wrong arguments, or only asked for its help |
//! | [`page`] | commands in the code blocks of a page |
//! | [`busy`] | a core that others keep busy, for a tool that is to suffer |
//! | [`word`] | words of a choice, as they are parsed and as they are written |
//! | [`process`] | a program as a process: arguments, signals, a time limit, and what it said |

pub mod busy;
pub mod help;
pub mod line;
pub mod page;
pub mod prefix;
pub mod process;
pub mod refusal;
pub mod word;
