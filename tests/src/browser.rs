//! A real browser on a host of the lab: Debian's Chromium without a window, told what to do over the
//! DevTools protocol.
//!
//! The protocol's messages are JSON, each ended by a zero octet, and go through two pipes: nothing
//! listens on a port. Its profile is on the host's own `/run`, and vanishes with the host.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::ChildStdout,
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{sys::stat::Mode, unistd::mkfifo};
use serde_json::{Value, json};

use crate::{
    node::{Node, Stdout},
    process::{self, Process},
};

/// Until an answer must be there, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Pixels of a window.
const HEIGHT: u64 = 900;
const LONGEST_PICTURE: u64 = 6_000;

/// Holds once what has changed is drawn.
const DRAWN: &str = "new Promise((drawn) => \
    requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(drawn, 100))))";

/// Where the browser keeps its files; private to its host.
const HOME: &str = "/run/chromium";

/// Messages come in by descriptor 3 and go out by 4.
const RUN: &str = r#"exec chromium "$@" 3<"$0" 4>&1 1>&2"#;

/// Root may not have the sandbox, and a host of the lab is one. All processes are children, of one
/// group: no zygote forks them, and no handler of crashes stays behind.
const ARGUMENTS: [&str; 11] = [
    "--headless",
    "--no-sandbox",
    "--no-zygote",
    "--no-first-run",
    "--disable-gpu",
    "--disable-breakpad",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--user-data-dir=/run/chromium/profile",
    "--remote-debugging-pipe",
];

/// A browser with one page. Dropping it kills it.
pub struct Browser {
    process: Process,
    commands: File,
    messages: Receiver<Value>,
    session: Option<String>,
    sent: u64,
    width: u32,
    complaints: Vec<String>,
}

/// The colours that a person has asked the system for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

impl Browser {
    /// Starts a browser with an empty page.
    ///
    /// # Errors
    /// Chromium is missing or does not start.
    pub fn start(node: &Node) -> Result<Self> {
        let pipe = format!("{HOME}/commands");
        let path = pipe.clone();
        let commands = node.run(move || -> Result<File> {
            fs::create_dir_all(HOME)?;
            let _ = fs::remove_file(&path);
            mkfifo(Path::new(&path), Mode::S_IRWXU)?;
            // Open for both, or this would wait for the browser.
            Ok(OpenOptions::new().read(true).write(true).open(&path)?)
        })?;
        let mut command = process::program("sh");
        command.env("HOME", HOME).args(["-ec", RUN, &pipe]);
        command.args(ARGUMENTS).arg("about:blank");
        let mut process = node.spawn("chromium", command, Stdout::Pipe)?;
        let output = process.take_stdout().context("the browser's answers")?;
        let mut browser = Self {
            process,
            commands,
            messages: messages(output),
            session: None,
            sent: 0,
            width: 1_280,
            complaints: Vec::new(),
        };
        browser
            .attach()
            .context("chromium: `cargo xtask setup` brings it")?;
        Ok(browser)
    }

    fn attach(&mut self) -> Result<()> {
        let target = self.call("Target.createTarget", &json!({ "url": "about:blank" }))?;
        let target = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = self.call("Target.attachToTarget", &target)?;
        let session = attached["sessionId"].as_str().context("a session")?;
        self.session = Some(session.to_owned());
        for domain in ["Page", "Runtime", "Log", "Accessibility"] {
            self.call(&format!("{domain}.enable"), &json!({}))?;
        }
        Ok(())
    }

    /// Has the page be so wide, in these colours.
    ///
    /// # Errors
    /// The browser refuses.
    pub fn show_as(&mut self, width: u32, scheme: Scheme) -> Result<()> {
        self.width = width;
        self.resize(HEIGHT)?;
        let value = match scheme {
            Scheme::Light => "light",
            Scheme::Dark => "dark",
        };
        let feature = json!({ "name": "prefers-color-scheme", "value": value });
        let media = json!({ "features": [feature] });
        self.call("Emulation.setEmulatedMedia", &media)?;
        Ok(())
    }

    fn resize(&mut self, height: u64) -> Result<()> {
        let metrics = json!({
            "width": self.width, "height": height, "deviceScaleFactor": 1, "mobile": false,
        });
        self.call("Emulation.setDeviceMetricsOverride", &metrics)?;
        Ok(())
    }

    /// Goes to an address.
    ///
    /// # Errors
    /// Nothing answers there.
    pub fn open(&mut self, url: &str) -> Result<()> {
        let answer = self.call("Page.navigate", &json!({ "url": url }))?;
        match answer["errorText"].as_str() {
            Some(error) => bail!("{url}: {error}"),
            None => Ok(()),
        }
    }

    /// The value of an expression of JavaScript in the page; a promise's, once it has one.
    ///
    /// # Errors
    /// It throws.
    pub fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let parameters = json!({
            "expression": expression, "returnByValue": true, "awaitPromise": true,
        });
        let answer = self.call("Runtime.evaluate", &parameters)?;
        if let Some(thrown) = answer.get("exceptionDetails") {
            bail!("{expression}: {thrown}");
        }
        Ok(answer["result"]["value"].clone())
    }

    /// The value of an expression as text.
    ///
    /// # Errors
    /// It throws, or is no text.
    pub fn text(&mut self, expression: &str) -> Result<String> {
        let value = self.evaluate(expression)?;
        let text = value
            .as_str()
            .with_context(|| format!("{expression}: {value}"))?;
        Ok(text.to_owned())
    }

    /// Waits until an expression holds, and returns how long that took.
    ///
    /// # Errors
    /// It does not within `limit`; the error has the text of the page.
    pub fn wait_until(&mut self, expression: &str, limit: Duration) -> Result<Duration> {
        let start = Instant::now();
        while self.evaluate(expression)? != json!(true) {
            if start.elapsed() > limit {
                let shown = self.text("document.title + '\\n' + document.body.innerText")?;
                bail!("not within {limit:?}: {expression}\nthe page:\n{shown}");
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(start.elapsed())
    }

    /// Presses a key: a letter or sign, or the name of another, such as `Tab`.
    ///
    /// # Errors
    /// The browser refuses.
    pub fn press(&mut self, key: &str) -> Result<()> {
        let (code, text) = match key {
            "Tab" => (9, None),
            "Enter" => (13, Some("\r")),
            "Escape" => (27, None),
            sign => (0, Some(sign)),
        };
        let mut parameters =
            json!({ "type": "keyDown", "key": key, "windowsVirtualKeyCode": code });
        if let Some(text) = text {
            parameters["text"] = json!(text);
        }
        self.call("Input.dispatchKeyEvent", &parameters)?;
        parameters["type"] = json!("keyUp");
        self.call("Input.dispatchKeyEvent", &parameters)?;
        Ok(())
    }

    /// What a screen reader is told: role and name of each thing that it does not pass over.
    ///
    /// # Errors
    /// The browser refuses.
    pub fn accessible(&mut self) -> Result<Vec<(String, String)>> {
        let tree = self.call("Accessibility.getFullAXTree", &json!({}))?;
        let nodes = tree["nodes"].as_array().context("nodes")?;
        let nodes = nodes.iter().filter(|node| node["ignored"] == json!(false));
        let word = |value: &Value| value["value"].as_str().unwrap_or_default().to_owned();
        Ok(nodes
            .map(|node| (word(&node["role"]), word(&node["name"])))
            .collect())
    }

    /// Processor time that the page's main thread has spent so far.
    ///
    /// # Errors
    /// The browser refuses.
    pub fn spent(&mut self) -> Result<Duration> {
        self.call(
            "Performance.enable",
            &json!({ "timeDomain": "threadTicks" }),
        )?;
        let answer = self.call("Performance.getMetrics", &json!({}))?;
        let metrics = answer["metrics"].as_array().context("metrics")?;
        let task = metrics
            .iter()
            .find(|metric| metric["name"] == "TaskDuration")
            .and_then(|metric| metric["value"].as_f64())
            .context("TaskDuration")?;
        Ok(Duration::try_from_secs_f64(task)?)
    }

    /// Writes a picture of the page, as PNG: the whole, unless it is very long.
    ///
    /// # Errors
    /// The browser refuses, or the file cannot be written.
    pub fn picture(&mut self, file: &Path) -> Result<()> {
        // A window as large as the page, for what is drawn only where it is seen.
        let height = self.evaluate("document.scrollingElement.scrollHeight")?;
        let height = height.as_u64().context("a height")?;
        self.resize(height.clamp(HEIGHT, LONGEST_PICTURE))?;
        self.evaluate(DRAWN)?;
        let answer = self.call("Page.captureScreenshot", &json!({}))?;
        self.resize(HEIGHT)?;
        let data = answer["data"].as_str().context("a picture")?;
        let folder = file.parent().context("a folder")?;
        fs::create_dir_all(folder)?;
        fs::write(file, from_base64(data)?).with_context(|| format!("writing {}", file.display()))
    }

    /// What the page has complained about in the console since this was last asked: errors, what the
    /// policy has refused, and what could not be loaded.
    ///
    /// # Errors
    /// The browser has ended.
    pub fn complaints(&mut self) -> Result<Vec<String>> {
        // What has been said until now comes before this answer.
        self.evaluate("0")?;
        Ok(std::mem::take(&mut self.complaints))
    }

    fn call(&mut self, method: &str, parameters: &Value) -> Result<Value> {
        self.sent += 1;
        let mut message = json!({ "id": self.sent, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut octets = message.to_string().into_bytes();
        octets.push(0);
        self.commands.write_all(&octets)?;
        loop {
            let Ok(mut answer) = self.messages.recv_timeout(PATIENCE) else {
                self.process.fail_if_ended()?;
                bail!(
                    "{method}: no answer for {PATIENCE:?}\n{}",
                    self.process.log()
                );
            };
            self.note(&answer);
            if answer["id"] == json!(self.sent) {
                if let Some(error) = answer.get("error") {
                    bail!("{method}: {error}");
                }
                return Ok(answer["result"].take());
            }
        }
    }

    /// Keeps what an event complains about.
    fn note(&mut self, event: &Value) {
        let parameters = &event["params"];
        let is_complaint = match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => {
                parameters["type"] == "error" || parameters["type"] == "warning"
            }
            Some("Log.entryAdded") => {
                let level = &parameters["entry"]["level"];
                level == "error" || level == "warning"
            }
            _ => false,
        };
        if is_complaint {
            self.complaints.push(parameters.to_string());
        }
    }
}

/// The browser's messages as they come, until it ends.
fn messages(output: ChildStdout) -> Receiver<Value> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut octets = Vec::new();
        while output.read_until(0, &mut octets).is_ok_and(|read| read > 0) {
            let message = octets.strip_suffix(&[0]).unwrap_or(&octets);
            let Ok(message) = serde_json::from_slice(message) else {
                break; // It has ended in the middle of one.
            };
            if sender.send(message).is_err() {
                break;
            }
            octets.clear();
        }
    });
    receiver
}

/// The octets that a text stands for (RFC 4648, 4).
fn from_base64(text: &str) -> Result<Vec<u8>> {
    let value = |letter: u8| match letter {
        b'A'..=b'Z' => Ok(letter - b'A'),
        b'a'..=b'z' => Ok(letter - b'a' + 26),
        b'0'..=b'9' => Ok(letter - b'0' + 52),
        b'+' => Ok(62),
        b'/' => Ok(63),
        _ => bail!("no base64: {:?}", char::from(letter)),
    };
    let mut octets = Vec::with_capacity(text.len() / 4 * 3);
    for group in text.trim_end_matches('=').as_bytes().chunks(4) {
        let mut bits = 0_u32;
        for place in 0..4 {
            let letter = group.get(place).copied().unwrap_or(b'A');
            bits = bits << 6 | u32::from(value(letter)?);
        }
        octets.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use super::from_base64;

    /// RFC 4648, 10.
    #[test]
    fn reads_base64() {
        for (text, octets) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9vYmE=", "fooba"),
            ("Zm9vYmFy", "foobar"),
        ] {
            assert_eq!(from_base64(text).unwrap(), octets.as_bytes());
        }
        from_base64("Zm9*").unwrap_err();
    }
}
