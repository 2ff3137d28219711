/** What the template store says of each template. A template that is not listed here is served under its name. */

export interface TemplateDescription {
  readonly language: string;
  readonly description: string;
  readonly recommended?: true;
}

export const templateDescriptions: Readonly<Record<string, TemplateDescription>> = {
  "bun-express": { language: "JavaScript", description: "Bun with Express, an event and a context" },
  dockerfile: { language: "Dockerfile", description: "Any program, by a Dockerfile of your own; classic watchdog" },
  go: { language: "Go", description: "Classic Go, a process per request: Handle(req []byte) string" },
  "golang-http": { language: "Go", description: "Go with a request and a response; golang-middleware is newer" },
  "golang-middleware": { language: "Go", description: "Go as a http.HandlerFunc", recommended: true },
  java17: { language: "Java", description: "Java 17 with a request and a response, compiled by javac" },
  node: { language: "NodeJS", description: "Classic Node.js, a process per request: (context, callback)" },
  node18: { language: "NodeJS", description: "Node.js 18 with an event and a context" },
  node20: { language: "NodeJS", description: "Node.js 20 with an event and a context" },
  node22: { language: "NodeJS", description: "Node.js 22 with an event and a context", recommended: true },
  php8: { language: "PHP", description: "PHP 8, a process per request: App\\Handler::handle" },
  python: { language: "Python", description: "Classic Python, on Python 3, a process per request: handle(req)" },
  python3: { language: "Python", description: "Classic Python 3, a process per request: handle(req)" },
  "python3-flask": { language: "Python", description: "Python 3 with Flask, on Alpine: handle(req)" },
  "python3-flask-debian": { language: "Python", description: "Python 3 with Flask, on Debian: handle(req)" },
  "python3-http": { language: "Python", description: "Python 3 with an event and a context", recommended: true },
  "python3-http-debian": { language: "Python", description: "Python 3 with an event and a context, on Debian" },
  ruby: { language: "Ruby", description: "Classic Ruby, a process per request: run(req)" },
  "ruby-http": { language: "Ruby", description: "Ruby with a body and headers" },
  rust: { language: "Rust", description: "Rust, a process per request: handle(body) of bytes" },
};
