//! Serves an OpenWhisk action in a loop: a line of JSON in on standard input, a line of JSON out on descriptor 3.
use serde_json::{json, Value};
use std::fs::File;
use std::io::{self, BufRead, Write};
use std::os::unix::io::FromRawFd;

fn main() {
    let mut answers = unsafe { File::from_raw_fd(3) };
    if std::env::var_os("__OW_WAIT_FOR_ACK").is_some() {
        writeln!(answers, "{{\"ok\":true}}").expect("descriptor 3 is open");
    }
    for line in io::stdin().lock().lines() {
        let line = line.expect("standard input is text");
        let answer = serve(&line);
        io::stdout().flush().ok();
        writeln!(answers, "{}", answer).expect("descriptor 3 is open");
    }
}

fn serve(line: &str) -> Value {
    let call: Value = match serde_json::from_str(line) {
        Ok(call) => call,
        Err(error) => return json!({ "error": error.to_string() }),
    };
    for (key, value) in call.as_object().into_iter().flatten() {
        match (key.as_str(), value) {
            ("value", _) => {}
            ("env", Value::Object(more)) => {
                for (name, text) in more {
                    std::env::set_var(name, text.as_str().unwrap_or_default());
                }
            }
            (_, Value::String(text)) => std::env::set_var(format!("__OW_{}", key.to_uppercase()), text),
            _ => {}
        }
    }
    match actions::main(call.get("value").cloned().unwrap_or_else(|| json!({}))) {
        Ok(result) => result,
        Err(error) => {
            eprintln!("{}", error);
            json!({ "error": error.to_string() })
        }
    }
}
