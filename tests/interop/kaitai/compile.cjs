// node compile.cjs OUT FILE.ksy...: compiles each to Python in OUT.
// "debug" keeps what was parsed before an error: where parsing stops is part of what the tests compare.
"use strict";
const fs = require("fs");
const path = require("path");
const compiler = require("kaitai-struct-compiler");
const yaml = require("yaml");

const [out, ...files] = process.argv.slice(2);
const noImports = { importYaml: (name) => Promise.reject(new Error(`imports ${name}`)) };

Promise.all(
  files.map((file) => {
    const text = fs.readFileSync(file, "utf8");
    return compiler.compile("python", yaml.parse(text), noImports, true).then((made) => {
      for (const [name, code] of Object.entries(made)) fs.writeFileSync(path.join(out, name), code);
    });
  }),
).catch((error) => {
  console.error(String(error));
  process.exit(1);
});
