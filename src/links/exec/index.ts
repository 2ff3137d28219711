/** The exec link: a process for each call, over stdin and stdout. */
export { ExecInstance } from "./exec-instance.ts";
export type { ExecProgram } from "./exec-instance.ts";
