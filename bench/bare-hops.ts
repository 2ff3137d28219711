/** The floor of a call between programs: for each number read, so many calls of a bare server one after another. Prints microseconds. */
import { Agent, request } from "node:http";
import { createInterface } from "node:readline";

const port = Number(process.argv[2]);
const agent = new Agent({ keepAlive: true, maxSockets: 1 });

for await (const line of createInterface({ input: process.stdin })) {
  const took: number[] = [];
  for (let n = 0; n < Number(line); n++) {
    const began = process.hrtime.bigint();
    await call();
    took.push(Number(process.hrtime.bigint() - began) / 1000);
  }
  console.log(JSON.stringify(took));
}

function call(): Promise<string> {
  return new Promise((done, failed) => {
    request({ host: "127.0.0.1", port, agent }, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => (text += chunk.toString()));
      response.on("end", () => done(text));
    })
      .on("error", failed)
      .end();
  });
}
