import type { Files } from "./harness.ts";

export interface Program {
  readonly files: Files;
  readonly handler?: string;
}

const manifest = `[package]\nname = "program"\nversion = "0.1.0"\nedition = "2021"\n`;

/**
 * In each language a program that is run for a call: it answers the method and what it reads, and says on standard error that it was
 * there. Where it reads `fail` it ends with 3.
 */
export const perCall: Readonly<Record<"go" | "java" | "php" | "ruby" | "rust", Program>> = {
  go: {
    files: {
      "main.go": `package main

import (
	"fmt"
	"io"
	"os"
)

func main() {
	text, _ := io.ReadAll(os.Stdin)
	fmt.Fprintln(os.Stderr, "was here")
	if string(text) == "fail" {
		os.Exit(3)
	}
	fmt.Printf("%s %s", os.Getenv("HTTP_METHOD"), text)
}
`,
    },
  },
  php: {
    files: {
      "index.php": `<?php
$text = stream_get_contents(STDIN);
fwrite(STDERR, "was here\\n");
if ($text === "fail") exit(3);
echo getenv("HTTP_METHOD"), " ", $text;
`,
    },
  },
  ruby: {
    files: {
      "main.rb": `text = $stdin.read
warn "was here"
exit 3 if text == "fail"
print ENV["HTTP_METHOD"], " ", text
`,
    },
  },
  rust: {
    files: {
      "Cargo.toml": manifest,
      "src/main.rs": `use std::io::Read;

fn main() {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).expect("it is text");
    eprintln!("was here");
    if text == "fail" {
        std::process::exit(3);
    }
    print!("{} {text}", std::env::var("HTTP_METHOD").unwrap_or_default());
}
`,
    },
  },
  java: {
    handler: "Program",
    files: {
      "Program.java": `public class Program {
  public static void main(String[] arguments) throws Exception {
    String text = new String(System.in.readAllBytes());
    System.err.println("was here");
    if (text.equals("fail")) System.exit(3);
    System.out.print(System.getenv("HTTP_METHOD") + " " + text);
  }
}
`,
    },
  },
};

/**
 * In each language a loop that answers how many calls it has had, and the line of this one; it prints that it was there. A line with
 * `"end"` ends it without an answer.
 */
export const loops: typeof perCall = {
  go: {
    files: {
      "main.go": `package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

func main() {
	out := os.NewFile(3, "answers")
	lines := bufio.NewScanner(os.Stdin)
	for calls := 1; lines.Scan(); calls++ {
		if strings.Contains(lines.Text(), "\\"end\\"") {
			os.Exit(3)
		}
		fmt.Println("was here")
		fmt.Fprintf(out, "{\\"calls\\":%d,\\"given\\":%s}\\n", calls, lines.Text())
	}
}
`,
    },
  },
  php: {
    files: {
      "index.php": `<?php
$out = fopen("php://fd/3", "w");
for ($calls = 1; ($line = fgets(STDIN)) !== false; $calls++) {
  $line = trim($line);
  if (str_contains($line, '"end"')) exit(3);
  echo "was here\\n";
  fwrite($out, "{\\"calls\\":$calls,\\"given\\":$line}\\n");
}
`,
    },
  },
  ruby: {
    files: {
      "main.rb": `out = IO.for_fd(3, "w")
calls = 0
while (line = $stdin.gets)
  exit 3 if line.include?('"end"')
  puts "was here"
  $stdout.flush
  out.puts %({"calls":#{calls += 1},"given":#{line.strip}})
  out.flush
end
`,
    },
  },
  rust: {
    files: {
      "Cargo.toml": manifest,
      "src/main.rs": `use std::io::{BufRead, Write};
use std::os::fd::FromRawFd;

fn main() {
    let mut out = unsafe { std::fs::File::from_raw_fd(3) };
    for (index, line) in std::io::stdin().lock().lines().enumerate() {
        let line = line.expect("it is text");
        if line.contains("\\"end\\"") {
            std::process::exit(3);
        }
        println!("was here");
        writeln!(out, "{{\\"calls\\":{},\\"given\\":{line}}}", index + 1).expect("somebody reads it");
    }
}
`,
    },
  },
  java: {
    handler: "Loop",
    files: {
      // Java opens descriptors by their path, which a socket has not.
      "Loop.java": `import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.Field;

public class Loop {
  public static void main(String[] arguments) throws Exception {
    FileDescriptor third = new FileDescriptor();
    Field number = FileDescriptor.class.getDeclaredField("fd");
    number.setAccessible(true);
    number.setInt(third, 3);
    PrintStream out = new PrintStream(new FileOutputStream(third), true);
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
    int calls = 0;
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      if (line.contains("\\"end\\"")) System.exit(3);
      System.out.println("was here");
      out.println("{\\"calls\\":" + ++calls + ",\\"given\\":" + line + "}");
    }
  }
}
`,
    },
  },
};
