/** The http link: calls to a program that is an HTTP server on `$PORT`. */
export { HttpInstance } from "./http-instance.ts";
export { InitRunInstance } from "./init-run-instance.ts";
export type { HttpProgram } from "./http-instance.ts";
