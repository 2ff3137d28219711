// whisk.system/samples. `sample` says which.
const http = require("http");
const https = require("https");

const samples = {
  greeting({ name = "stranger", place = "somewhere" }) {
    return { payload: `Hello, ${name} from ${place}!` };
  },
  helloWorld({ payload = "World" }) {
    console.log(`hello ${payload}!`);
    return {};
  },
  wordCount({ payload = "" }) {
    return {
      count: String(payload)
        .split(/\s+/)
        .filter((word) => word !== "").length,
    };
  },
  curl({ payload }) {
    return new Promise((resolve, reject) => {
      const client = String(payload).startsWith("https:") ? https : http;
      client
        .get(payload, (answer) => {
          let text = "";
          answer.on("data", (chunk) => (text += chunk));
          answer.on("end", () => resolve({ statusCode: answer.statusCode, msg: text }));
        })
        .on("error", reject);
    });
  },
};

function main(params) {
  const { sample, ...given } = params;
  return samples[sample](given);
}
