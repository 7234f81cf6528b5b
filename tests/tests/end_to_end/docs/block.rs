//! A fenced block of a page, and what is to be done with it.

use std::{collections::BTreeMap, fmt};

/// Why a block may be left out, exactly: whoever finds another reason adds it here. The tests of the
/// package install it, in a root of their own.
pub(super) const REASONS: [&str; 3] = [
    "needs systemd as PID 1",
    "does not end by itself",
    "installs a package",
];

/// Where commands are run.
pub(super) const PLACES: [&str; 7] = [
    "balancer", "server", "dns1", "dns2", "dns3", "router", "client",
];

/// Where commands are only looked up.
const BUILD: &str = "build";

/// Words of an info string that take no value.
const FLAGS: [&str; 1] = ["fails"];

/// Words that take one.
const KEYS: [&str; 7] = ["on", "unrun", "dead", "before", "unlike", "file", "daemon"];

/// A fenced block.
#[derive(Clone, Debug)]
pub(super) struct Block {
    place: String,
    info: String,
    pub(super) text: String,
}

/// What is to be done with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Nothing: it has no commands.
    Ignore,
    /// Nothing, for a reason.
    Leave(String),
    /// Its commands are looked up, not run.
    LookUp,
    /// It is written to a file on a host.
    Write { on: String, file: String },
    /// Its commands are run.
    Run(Run),
}

/// Commands to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) on: String,
    pub(super) fails: bool,
    /// The server that is dead meanwhile.
    pub(super) dead: Option<String>,
    /// What is run first, unseen.
    pub(super) before: Option<String>,
    pub(super) compared: bool,
    pub(super) steps: Vec<Step>,
}

/// A piece of a block that is run by one shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) script: String,
    /// What the page shows as its output.
    pub(super) shown: Option<String>,
}

impl Step {
    /// Whether this is the agent itself, which goes on running.
    pub(super) fn is_agent(&self) -> bool {
        self.script.starts_with("dns-lb run")
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

impl Block {
    /// The block that begins on this line of a page.
    pub(super) fn new(page: &str, line: usize, info: &str, text: &str) -> Self {
        Self {
            place: format!("{page}:{line}"),
            info: info.to_owned(),
            text: text.to_owned(),
        }
    }

    /// The language and the words behind it.
    fn words(&self) -> Result<(&str, BTreeMap<&str, &str>), String> {
        let (language, mut rest) = self.info.split_once(' ').unwrap_or((&self.info, ""));
        let mut words = BTreeMap::new();
        loop {
            rest = rest.trim_start();
            if rest.is_empty() {
                return Ok((language, words));
            }
            let end = rest.find([' ', '=']).unwrap_or(rest.len());
            let (word, behind) = rest.split_at(end);
            let value = match behind.strip_prefix('=') {
                None => "",
                Some(behind) => match behind.strip_prefix('"') {
                    Some(quoted) => quoted.split_once('"').ok_or("a quote is not closed")?.0,
                    None => behind.split(' ').next().unwrap_or_default(),
                },
            };
            let known = match behind.starts_with('=') {
                true => KEYS.contains(&word) && !value.is_empty(),
                false => FLAGS.contains(&word),
            };
            if !known {
                return Err(format!(
                    "`{word}` is not known, or lacks a value: see tests/tests/end_to_end/docs/mod.rs"
                ));
            }
            words.insert(word, value);
            let quotes = if behind.starts_with("=\"") { 2 } else { 0 };
            let equals = usize::from(behind.starts_with('='));
            rest = &behind[equals + quotes + value.len()..];
        }
    }

    /// What is to be done with it.
    ///
    /// # Errors
    /// Its page does not say so, and what the page should say.
    pub(super) fn action(&self) -> Result<Action, String> {
        let (language, words) = self.words()?;
        let on = words.get("on").copied();
        if on.is_some_and(|on| on != BUILD && !PLACES.contains(&on)) {
            return Err(format!("on= takes one of {BUILD}, {}", PLACES.join(", ")));
        }
        let asks_place = || {
            let places = PLACES.join(", ");
            format!(
                "write where it is run behind the language, as in ```sh on=PLACE, with one of \
                 {BUILD}, {places}; or unrun=\"REASON\""
            )
        };
        if words.contains_key("daemon") {
            return Ok(Action::Ignore);
        }
        if let Some(file) = words.get("file") {
            let on = on.filter(|on| *on != BUILD).ok_or_else(asks_place)?;
            return Ok(Action::Write {
                on: on.to_owned(),
                file: (*file).to_owned(),
            });
        }
        let is_console = match language {
            "sh" => false,
            "console" => true,
            "bash" | "shell" | "shell-session" => {
                return Err("the language of commands is sh or console".to_owned());
            }
            "" if self.text.lines().any(|line| line.starts_with("$ ")) => {
                return Err("it has commands: its language is console".to_owned());
            }
            _ => return Ok(Action::Ignore),
        };
        match (on, words.get("unrun").copied()) {
            (None, Some(reason)) if REASONS.contains(&reason) => {
                Ok(Action::Leave(reason.to_owned()))
            }
            (None, Some(_)) => Err(format!("the reason is to be one of {REASONS:?}")),
            (Some(BUILD), None) => Ok(Action::LookUp),
            (Some(on), None) => Ok(Action::Run(Run {
                on: on.to_owned(),
                fails: words.contains_key("fails"),
                dead: words.get("dead").map(|dead| (*dead).to_owned()),
                before: words.get("before").map(|before| (*before).to_owned()),
                compared: is_console && !words.contains_key("unlike"),
                steps: match is_console {
                    true => console_steps(&self.text)?,
                    false => script_steps(&self.text),
                },
            })),
            (Some(_), Some(_)) => Err("either on= or unrun=".to_owned()),
            (None, None) => Err(asks_place()),
        }
    }

    /// The language that it is in.
    pub(super) fn language(&self) -> &str {
        self.info.split(' ').next().unwrap_or_default()
    }

    /// The value of a word behind the language.
    pub(super) fn word(&self, word: &str) -> Option<String> {
        let (_, words) = self.words().ok()?;
        words.get(word).map(|value| (*value).to_owned())
    }

    /// Its commands, one an item, without comments and the output that is shown.
    pub(super) fn commands(&self) -> Vec<String> {
        let is_console = self.language() == "console";
        let lines = self.text.lines().filter_map(|line| match is_console {
            true => line.strip_prefix("$ "),
            false => Some(line),
        });
        lines
            .map(|line| line.split(" #").next().unwrap_or_default().trim())
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::to_owned)
            .collect()
    }
}

/// One shell for all lines, but for those that start the agent.
fn script_steps(text: &str) -> Vec<Step> {
    let mut steps = vec![Step {
        script: String::new(),
        shown: None,
    }];
    for line in text.lines() {
        let follows_agent = steps.last().is_some_and(Step::is_agent);
        if line.starts_with("dns-lb run") || follows_agent {
            steps.push(Step {
                script: String::new(),
                shown: None,
            });
        }
        if let Some(step) = steps.last_mut() {
            step.script += line;
            step.script += "\n";
        }
    }
    steps.retain(|step| !step.script.trim().is_empty());
    steps
}

/// A shell for each line that begins with `$ ` and those that it goes on in, and what follows it.
fn console_steps(text: &str) -> Result<Vec<Step>, String> {
    let mut steps: Vec<Step> = Vec::new();
    let mut goes_on = false;
    for line in text.lines() {
        let command = line.strip_prefix("$ ").or(goes_on.then_some(line));
        match (command, steps.last_mut()) {
            (Some(command), Some(step)) if goes_on => step.script += &format!("{command}\n"),
            (Some(command), _) => steps.push(Step {
                script: format!("{command}\n"),
                shown: Some(String::new()),
            }),
            (None, Some(step)) => {
                *step.shown.get_or_insert_default() += &format!("{line}\n");
            }
            (None, None) => return Err("it has to begin with a command: `$ …`".to_owned()),
        }
        goes_on = command.is_some_and(|command| command.ends_with(['|', '\\']));
    }
    Ok(steps)
}

#[test]
fn blocks_are_split_where_the_agent_is_started() {
    let text = "dns-lb check-config\n\ndns-lb run   # attach\ndns-lb status\ntrue\n";
    let scripts: Vec<String> = script_steps(text)
        .into_iter()
        .map(|step| step.script)
        .collect();
    assert_eq!(
        scripts,
        [
            "dns-lb check-config\n\n",
            "dns-lb run   # attach\n",
            "dns-lb status\ntrue\n"
        ]
    );
}

#[test]
fn consoles_have_commands_and_what_they_print() {
    let steps = console_steps("$ ls |\n    sort\na\nb\n$ true\n").unwrap();
    let step = |script: &str, shown: &str| Step {
        script: script.to_owned(),
        shown: Some(shown.to_owned()),
    };
    assert_eq!(
        steps,
        [step("ls |\n    sort\n", "a\nb\n"), step("true\n", "")]
    );
    console_steps("a\n$ true\n").unwrap_err();
}

#[test]
fn words_behind_the_language_are_read() {
    let info = "console on=dns1 dead=dns2 unlike=\"by columns, on a terminal\" fails";
    let Action::Run(run) = Block::new("p", 1, info, "$ false\n").action().unwrap() else {
        panic!("it is run");
    };
    assert_eq!((run.on.as_str(), run.fails), ("dns1", true));
    assert_eq!(run.dead.as_deref(), Some("dns2"));
    assert!(!run.compared);
}
