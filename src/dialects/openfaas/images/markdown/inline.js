/** Markdown inside a block: emphasis, code, links, images, breaks. HTML is text here. */
"use strict";

const punctuation = /[\p{P}\p{S}]/u;
const escapable = /[!-/:-@[-`{-~]/;
const entity = /^&(?:#\d{1,7}|#[xX][\da-fA-F]{1,6}|[A-Za-z][A-Za-z\d]{1,31});/;
const autolink = /^<([A-Za-z][A-Za-z\d+.-]{1,31}:[^\s<>]*|[\w.!#$%&'*+/=?^`{|}~-]+@[A-Za-z\d.-]+)>/;
const harmless = /^(?:https?|mailto|ftp|tel):/i;
const scheme = /^[A-Za-z][A-Za-z\d+.-]*:/;

/** Text as HTML. Pieces are collected; the runs of * and _ and the brackets among them are paired up afterwards. */
function renderInline(text, references) {
  const pieces = [];
  const brackets = [];
  let plain = "";
  const flush = () => {
    if (plain !== "") pieces.push({ html: escapeHtml(plain) });
    plain = "";
  };
  for (let at = 0; at < text.length;) {
    const character = text[at];
    const rest = () => text.slice(at, at + 2048);
    let match;
    if (character === "\\" && text[at + 1] === "\n") {
      flush();
      pieces.push({ html: "<br />\n" });
      at += 2;
    } else if (character === "\\" && escapable.test(text[at + 1] ?? "")) {
      plain += text[at + 1];
      at += 2;
    } else if (character === "`") {
      const marks = /^`+/.exec(text.slice(at))[0];
      const end = closingMarks(text, at + marks.length, marks.length);
      flush();
      if (end === -1) pieces.push({ html: marks });
      else pieces.push({ html: `<code>${escapeHtml(codeText(text.slice(at + marks.length, end)))}</code>` });
      at = end === -1 ? at + marks.length : end + marks.length;
    } else if (character === "<" && (match = autolink.exec(rest()))) {
      flush();
      const target = scheme.test(match[1]) ? match[1] : `mailto:${match[1]}`;
      pieces.push({ html: `<a href="${address(target)}">${escapeHtml(match[1])}</a>` });
      at += match[0].length;
    } else if (character === "&" && (match = entity.exec(rest()))) {
      flush();
      pieces.push({ html: match[0] });
      at += match[0].length;
    } else if (character === "*" || character === "_") {
      let end = at;
      while (text[end] === character) end++;
      flush();
      pieces.push(run(character, end - at, before(text, at), after(text, end)));
      at = end;
    } else if (character === "[" || (character === "!" && text[at + 1] === "[")) {
      flush();
      const image = character === "!";
      brackets.push({ piece: pieces.length, from: at + (image ? 2 : 1), image });
      pieces.push({ html: image ? "![" : "[" });
      at += image ? 2 : 1;
    } else if (character === "]" && brackets.length > 0) {
      flush();
      const opening = brackets.pop();
      const link = opening.dead ? undefined : readTarget(text, at, text.slice(opening.from, at), references);
      if (link === undefined) {
        pieces.push({ html: "]" });
        at++;
      } else {
        const inner = emphasise(pieces.splice(opening.piece).slice(1));
        pieces.push({ html: opening.image ? picture(link, inner) : anchor(link, inner) });
        // A link holds no other link.
        if (!opening.image) for (const outer of brackets) outer.dead ||= !outer.image;
        at = link.next;
      }
    } else if (character === "\n") {
      const hard = / {2,}$/.test(plain);
      plain = plain.trimEnd();
      flush();
      pieces.push({ html: hard ? "<br />\n" : "\n" });
      for (at++; text[at] === " ";) at++;
    } else {
      plain += character;
      at++;
    }
  }
  flush();
  return emphasise(pieces);
}

function escapeHtml(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}

/** A run of * or _: whether it may open or close emphasis depends on what stands around it. */
function run(mark, count, previous, next) {
  const spaceBefore = /\s/.test(previous);
  const spaceAfter = /\s/.test(next);
  const left = !spaceAfter && (!punctuation.test(next) || spaceBefore || punctuation.test(previous));
  const right = !spaceBefore && (!punctuation.test(previous) || spaceAfter || punctuation.test(next));
  const word = mark === "_";
  return {
    mark,
    count,
    whole: count,
    opens: left && (!word || !right || punctuation.test(previous)),
    closes: right && (!word || !left || punctuation.test(next)),
    opened: "",
    closed: "",
  };
}

/** Pairs the runs of a sequence of pieces, innermost first. */
function emphasise(pieces) {
  const openers = { "*": [], _: [] };
  const all = [];
  for (const [at, piece] of pieces.entries()) {
    if (piece.mark === undefined) continue;
    const mine = openers[piece.mark];
    while (piece.closes && piece.count > 0) {
      const opener = mine.findLast((other) => fits(other.piece, piece));
      if (opener === undefined) break;
      // What was opened behind the opener and not closed is text.
      while (all.length > 0 && all.at(-1) !== opener) {
        const lost = all.pop();
        const owners = openers[lost.piece.mark];
        owners.splice(owners.indexOf(lost), 1);
      }
      const used = opener.piece.count > 1 && piece.count > 1 ? 2 : 1;
      const tag = used === 2 ? "strong" : "em";
      opener.piece.opened = `<${tag}>${opener.piece.opened}`;
      piece.closed += `</${tag}>`;
      opener.piece.count -= used;
      piece.count -= used;
      if (opener.piece.count === 0) {
        all.pop();
        mine.splice(mine.indexOf(opener), 1);
      }
    }
    if (piece.opens && piece.count > 0) {
      const entry = { at, piece };
      mine.push(entry);
      all.push(entry);
    }
  }
  return pieces
    .map((piece) =>
      piece.mark === undefined ? piece.html : piece.closed + piece.mark.repeat(piece.count) + piece.opened,
    )
    .join("");
}

/** The "rule of three": a run that could do both pairs only with one whose length does not add up to a multiple of it. */
function fits(opener, closer) {
  if (!(opener.closes || closer.opens)) return true;
  return (opener.whole + closer.whole) % 3 !== 0 || (opener.whole % 3 === 0 && closer.whole % 3 === 0);
}

/** What follows a link's text, whose "]" is at `end`: (target "title"), [label], or nothing. */
function readTarget(text, end, label, references) {
  const direct =
    /^\(\s*(?:<([^<>\n]*)>|((?:[^\s()\\]|\\.|\((?:[^\s()\\]|\\.)*\))*))(?:\s+(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'))?\s*\)/.exec(
      text.slice(end + 1, end + 4096),
    );
  if (direct) {
    const [whole, bracketed, bare, double, single] = direct;
    return { target: unescape(bracketed ?? bare), title: unescape(double ?? single), next: end + 1 + whole.length };
  }
  const named = /^\[([^[\]]{0,999})\]/.exec(text.slice(end + 1, end + 1024));
  const found = references.get(normal(named && named[1] !== "" ? named[1] : label));
  return found && { ...found, next: end + 1 + (named ? named[0].length : 0) };
}

function anchor({ target, title }, inner) {
  return `<a href="${address(target)}"${titled(title)}>${inner}</a>`;
}

function picture({ target, title }, inner) {
  return `<img src="${address(target)}" alt="${inner.replaceAll(/<[^>]*>/g, "")}"${titled(title)} />`;
}

function titled(title) {
  return title === undefined ? "" : ` title="${escapeHtml(title)}"`;
}

/** No address that runs as a script. */
function address(target) {
  // oxlint-disable-next-line no-control-regex -- browsers skip these before they look for the scheme
  const seen = target.replaceAll(/[\u0000-\u0020]/g, "");
  if (scheme.test(seen) && !harmless.test(seen)) return "";
  return escapeHtml(target.replaceAll(/[^!-~]/gu, (character) => encodeURIComponent(character.toWellFormed())));
}

function closingMarks(text, from, count) {
  for (const match of text.slice(from).matchAll(/`+/g)) if (match[0].length === count) return from + match.index;
  return -1;
}

function codeText(text) {
  const line = text.replaceAll("\n", " ");
  return /^ .*[^ ].* $/.test(line) || /^ [^ ] $/.test(line) ? line.slice(1, -1) : line;
}

function before(text, at) {
  return at === 0 ? " " : String.fromCodePoint(text.codePointAt(at - (/[\uDC00-\uDFFF]/.test(text[at - 1]) ? 2 : 1)));
}

function after(text, at) {
  return at >= text.length ? " " : String.fromCodePoint(text.codePointAt(at));
}

function unescape(text) {
  return text?.replaceAll(/\\([!-/:-@[-`{-~])/g, "$1");
}

function normal(label) {
  return label.trim().replaceAll(/\s+/g, " ").toLowerCase();
}

module.exports = { escapeHtml, renderInline };
