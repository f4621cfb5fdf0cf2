// Holds an AsyncAPI document, from standard input, against the schema that the
// AsyncAPI initiative publishes. Says what is wrong and ends with 1, or ends
// with 0.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import Ajv from "ajv";
import addFormats from "ajv-formats";

const require = createRequire(import.meta.url);
const document = JSON.parse(readFileSync(0, "utf8"));
const schema = require(`@asyncapi/specs/schemas/${document.asyncapi}.json`);

// The schema brings the one that it is itself written in.
const ajv = new Ajv({ strict: false, allErrors: true, logger: false, meta: false, validateSchema: false });
addFormats(ajv);
const validate = ajv.compile(schema);
if (!validate(document)) {
  for (const fault of validate.errors) console.error(fault.instancePath, fault.message);
  process.exit(1);
}

// What the schema cannot tell: that what is referred to is there.
function find(place) {
  return place
    .slice(2)
    .split("/")
    .reduce((at, step) => at?.[step.replaceAll("~1", "/").replaceAll("~0", "~")], document);
}
let references = 0;
let missing = 0;
(function walk(at) {
  if (at === null || typeof at !== "object") return;
  if (typeof at.$ref === "string") {
    references++;
    if (find(at.$ref) === undefined) {
      console.error(`${at.$ref} is not there`);
      missing++;
    }
  }
  Object.values(at).forEach(walk);
})(document);
if (references === 0) console.error("nothing is referred to");
process.exit(references === 0 || missing > 0 ? 1 : 0);
