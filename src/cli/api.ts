/** Documents of the native API as the CLI reads them (`docs/api.md`). */
import type { FunctionConfig, FunctionState, Invocation, LogLine, Revision } from "../core/model.ts";

/** What a user asks for: everything but the function's name may be missing. */
export type Settings = {
  readonly [K in keyof FunctionConfig]?: FunctionConfig[K] extends readonly unknown[] | string | boolean | number
    ? FunctionConfig[K]
    : Partial<FunctionConfig[K]>;
};

export interface DeployBody {
  readonly source?: string;
  readonly settings: Settings;
  readonly tag?: string;
  readonly traffic?: "latest" | "keep";
}

export interface DeployResult {
  readonly function: FunctionState;
  readonly revision: Revision;
  readonly changed: boolean;
}

export type DeployLine =
  | { readonly kind: "stage"; readonly stage: string; readonly detail?: string }
  | { readonly kind: "log"; readonly line: string }
  | { readonly kind: "done"; readonly result: DeployResult }
  | { readonly kind: "error"; readonly error: Record<string, string> };

export interface PlannedChange {
  readonly field: string;
  readonly from?: unknown;
  readonly to?: unknown;
}

export type ListedFunction = FunctionState & { readonly config?: FunctionConfig };

export interface DescribedFunction {
  readonly function: FunctionState;
  readonly revision: Revision;
  readonly instances: readonly {
    readonly id: string;
    readonly revision: number;
    readonly state: string;
    readonly running: number;
    readonly startedAt: number;
  }[];
  readonly waiting: number;
  readonly decisions: readonly {
    readonly at: number;
    readonly from: number;
    readonly to: number;
    readonly reason: string;
  }[];
  readonly url: string;
}

export interface FollowedLine extends LogLine {
  readonly name: string;
  readonly revision: number;
  readonly instance: string;
  readonly invocation?: string;
}

export interface InvocationStatusView extends Partial<Omit<Invocation, "id" | "status">> {
  readonly id: string;
  readonly status: Invocation["status"];
  readonly acceptedAt?: number;
  readonly nextAttemptAt?: number;
}

export interface ServerInfo {
  readonly name: string;
  readonly version: string;
  readonly node: string;
  readonly sandbox: string;
  readonly startedAt: number;
}
