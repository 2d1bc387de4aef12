// Parses an AsyncAPI document and validates it against the specification: node asyncapi.mjs FILE. Warnings fail too.
import { readFile } from "node:fs/promises";
import { Parser } from "@asyncapi/parser";

const { document, diagnostics } = await new Parser().parse(await readFile(process.argv[2], "utf8"));
for (const each of diagnostics) {
  console.log(`asyncapi: ${each.code}: ${each.message} at ${each.path.join(".")}`);
}
if (document === undefined || diagnostics.length > 0) {
  process.exit(1);
}
console.log(`asyncapi: ${document.allChannels().length} channels, ${document.allMessages().length} messages, no complaint`);
