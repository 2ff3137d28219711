/** Renders Markdown as HTML. */
"use strict";

const { readFileSync } = require("node:fs");
const { renderBlocks } = require("./blocks");

process.stdout.write(renderBlocks(readFileSync(0, "utf8")));
