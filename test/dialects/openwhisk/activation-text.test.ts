import assert from "node:assert/strict";
import { test } from "node:test";
import { successText } from "../../../src/dialects/openwhisk/activation.ts";

const bytesOf = (text: string, ...rest: number[]) =>
  Buffer.concat([Buffer.from(text), Buffer.from(rest), Buffer.from('"}')]);

test("a result's length is that of what is answered, for bytes that are no UTF-8 as well", () => {
  for (const body of [
    bytesOf('{"a":"plain'),
    bytesOf('{"a":"größe €'),
    bytesOf('{"a":"', 0xff),
    bytesOf('{"a":"ü', 0xff, 0xc3),
  ]) {
    const success = successText(200, body)!;
    assert.equal(success.bytes, Buffer.byteLength(success.text));
    assert.equal(success.isAscii, success.bytes === success.text.length);
  }
  assert.equal(successText(200, bytesOf('{"a":"', 0xff))?.text, '{"a":"\ufffd"}');
});
