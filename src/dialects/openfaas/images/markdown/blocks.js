/** Markdown's blocks: headings, paragraphs, lists, quotes, code, rules. */
"use strict";

const { escapeHtml, renderInline } = require("./inline");

const deepest = 20;

const heading = /^ {0,3}(#{1,6})(?:[ \t]|$)/;
const rule = /^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const fence = /^( {0,3})(`{3,}(?!.*`)|~{3,})[ \t]*(.*)$/;
const quote = /^ {0,3}>[ ]?/;
const indented = /^(?: {4}|\t)/;
const item = /^( {0,3})(?:([-+*])|(\d{1,9})([.)]))(?:([ \t]+)(.*)|[ \t]*)$/;
const underline = /^ {0,3}(=+|-+)[ \t]*$/;
const definition = /^ {0,3}\[([^\]]+)\]:[ \t]*<?(\S+?)>?(?:[ \t]+(?:"([^"]*)"|'([^']*)'|\(([^)]*)\)))?[ \t]*$/;

function renderBlocks(text) {
  const references = new Map();
  const lines = text.replaceAll("\0", "\u{FFFD}").split(/\r\n|\n|\r/);
  if (lines.at(-1) === "") lines.pop();
  return html(parse(withoutDefinitions(lines, references), 0), references);
}

/** Link reference definitions are taken out first: they may stand behind their use. */
function withoutDefinitions(lines, references) {
  let open;
  let inParagraph = false;
  return lines.filter((line) => {
    const fenced = fence.exec(line);
    if (open !== undefined) {
      if (fenced && fenced[2].startsWith(open) && fenced[3] === "") open = undefined;
      return true;
    }
    if (fenced) open = fenced[2];
    const found = inParagraph ? null : definition.exec(line);
    if (!found) {
      inParagraph = !fenced && !isBlank(line) && !heading.test(line);
      return true;
    }
    const [, label, target, ...titles] = found;
    const key = normal(label);
    if (!references.has(key)) references.set(key, { target, title: titles.find((title) => title !== undefined) });
    return false;
  });
}

function parse(lines, depth) {
  const blocks = [];
  let paragraph = [];
  // Whether an empty line stands before the next block: that makes a list loose.
  let apart = false;
  const add = (block) => {
    blocks.push({ ...block, apart: apart && blocks.length > 0 });
    apart = false;
  };
  const flush = () => {
    if (paragraph.length > 0) add({ kind: "paragraph", text: paragraph.join("\n") });
    paragraph = [];
  };
  for (let at = 0; at < lines.length;) {
    const line = lines[at];
    let match;
    if (isBlank(line)) {
      flush();
      apart = true;
      at++;
    } else if (indented.test(line) && paragraph.length === 0) {
      const code = [];
      while (at < lines.length && (indented.test(lines[at]) || isBlank(lines[at])))
        code.push(lines[at++].replace(indented, ""));
      while (isBlank(code.at(-1))) {
        code.pop();
        at--;
      }
      add({ kind: "code", text: code.join("\n") });
    } else if ((match = fence.exec(line))) {
      flush();
      const [, indent, marks, language] = match;
      const code = [];
      for (at++; at < lines.length; at++) {
        const closing = fence.exec(lines[at]);
        if (closing && closing[2].startsWith(marks) && closing[3].trim() === "") break;
        code.push(lines[at].startsWith(indent) ? lines[at].slice(indent.length) : lines[at].trimStart());
      }
      at++;
      add({ kind: "code", text: code.join("\n"), language: language.trim().split(/\s/)[0] });
    } else if ((match = heading.exec(line))) {
      flush();
      add({ kind: "heading", level: match[1].length, text: headingText(line.slice(match[0].length)) });
      at++;
    } else if (paragraph.length > 0 && (match = underline.exec(line))) {
      const text = paragraph.join("\n");
      paragraph = [];
      add({ kind: "heading", level: match[1][0] === "=" ? 1 : 2, text });
      at++;
    } else if (rule.test(line)) {
      flush();
      add({ kind: "rule" });
      at++;
    } else if (quote.test(line) && depth < deepest) {
      flush();
      const quoted = [];
      while (at < lines.length && (quote.test(lines[at]) || continues(lines[at], quoted.at(-1))))
        quoted.push(lines[at++].replace(quote, ""));
      add({ kind: "quote", blocks: parse(quoted, depth + 1) });
    } else if ((match = item.exec(line)) && depth < deepest && (paragraph.length === 0 || interrupts(match))) {
      flush();
      const list = readList(lines, at, depth);
      add(list.block);
      at = list.next;
    } else {
      paragraph.push(line.trimStart());
      at++;
    }
  }
  flush();
  return blocks;
}

/** Only an item with text, and of a numbered list only the first, ends a paragraph. */
function interrupts([, , bullet, number, , , text]) {
  return (text ?? "").trim() !== "" && (bullet !== undefined || number === "1");
}

/** A plain line behind a quoted or listed one still belongs to that one's paragraph. */
function continues(line, before) {
  if (before === undefined || isBlank(before) || isBlank(line)) return false;
  if (fence.test(before) || heading.test(before) || indented.test(before)) return false;
  return ![heading, rule, fence, quote, item].some((start) => start.test(line));
}

function readList(lines, start, depth) {
  const first = item.exec(lines[start]);
  const marker = first[2] ?? first[4];
  const items = [];
  let loose = false;
  let at = start;
  while (at < lines.length) {
    const match = item.exec(lines[at]);
    if (!match || (match[2] ?? match[4]) !== marker || rule.test(lines[at])) break;
    const [, indent, bullet, number, , space = " ", text = ""] = match;
    // More than four columns of space before the text are part of it: code.
    const gap = text === "" || space.length > 4 ? 1 : space.length;
    const content = indent.length + (bullet ?? `${number}.`).length + gap;
    const own = [space.length > 4 ? space.slice(1) + text : text];
    let blank = false;
    for (at++; at < lines.length; at++) {
      const line = lines[at].replaceAll("\t", "    ");
      if (isBlank(line)) {
        blank = true;
        own.push("");
      } else if (line.length - line.trimStart().length >= content) {
        blank = false;
        own.push(line.slice(content));
      } else if (!blank && continues(line, own.at(-1))) own.push(line);
      else break;
    }
    const follows = at < lines.length ? item.exec(lines[at]) : null;
    const last = !follows || (follows[2] ?? follows[4]) !== marker || rule.test(lines[at]);
    while (own.length > 1 && own.at(-1) === "") own.pop();
    const blocks = parse(own, depth + 1);
    loose ||= (blank && !last) || blocks.some((block) => block.apart);
    items.push(blocks);
  }
  const block = { kind: "list", ordered: first[3] !== undefined, start: Number(first[3] ?? 1), loose, items };
  return { block, next: at };
}

function html(blocks, references, tight = false) {
  return blocks
    .map((block) => {
      if (block.kind === "heading")
        return `<h${block.level}>${renderInline(block.text, references)}</h${block.level}>\n`;
      if (block.kind === "rule") return "<hr />\n";
      if (block.kind === "quote") return `<blockquote>\n${html(block.blocks, references)}</blockquote>\n`;
      if (block.kind === "list") return list(block, references);
      if (block.kind === "code") {
        const language = block.language ? ` class="language-${escapeHtml(block.language)}"` : "";
        return `<pre><code${language}>${escapeHtml(block.text)}${block.text === "" ? "" : "\n"}</code></pre>\n`;
      }
      const text = renderInline(block.text.trimEnd(), references);
      return tight ? `${text}\n` : `<p>${text}</p>\n`;
    })
    .join("");
}

function list({ ordered, start, loose, items }, references) {
  const opening = ordered ? (start === 1 ? "<ol>" : `<ol start="${start}">`) : "<ul>";
  const rows = items.map((blocks) => {
    if (blocks.length === 0) return "<li></li>\n";
    const inner = html(blocks, references, !loose);
    // The text of a tight item stands in its line.
    const startsWithText = !loose && blocks[0].kind === "paragraph";
    const endsWithText = !loose && blocks.at(-1).kind === "paragraph";
    return `<li>${startsWithText ? "" : "\n"}${endsWithText ? inner.trimEnd() : inner}</li>\n`;
  });
  return `${opening}\n${rows.join("")}</${ordered ? "ol" : "ul"}>\n`;
}

/** Without the marks that may close it. */
function headingText(given) {
  const text = given.trim();
  let end = text.length;
  while (text[end - 1] === "#") end--;
  return end === 0 || /\s/.test(text[end - 1]) ? text.slice(0, end).trim() : text;
}

function isBlank(line) {
  return line !== undefined && line.trim() === "";
}

function normal(label) {
  return label.trim().replaceAll(/\s+/g, " ").toLowerCase();
}

module.exports = { renderBlocks };
