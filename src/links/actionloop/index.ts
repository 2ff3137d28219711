export { ActionLoopInstance, type ActionLoopProgram } from "./actionloop-instance.ts";
