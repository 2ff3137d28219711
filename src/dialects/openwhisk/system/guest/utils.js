// whisk.system/utils: small tools for sequences. `tool` says which.
function lines(params) {
  return Array.isArray(params.lines) ? params.lines : [];
}

const tools = {
  cat: (params) => ({ payload: lines(params).join("\n") + (lines(params).length > 0 ? "\n" : "") }),
  date: () => ({ date: new Date().toISOString() }),
  echo: (params) => params,
  head(params) {
    const count = Number(params.num ?? 1);
    return { lines: lines(params).slice(0, count), num: count };
  },
  hosturl(params) {
    const host = process.env.__OW_API_HOST;
    const { web, ext = "", trigger, path = "", action = process.env.__OW_ACTION_NAME } = params;
    if (trigger) return { url: `${host}/api/v1/namespaces/${process.env.__OW_NAMESPACE}/triggers/${trigger}${path}` };
    // A name without a namespace is one of the caller's.
    const parts = action.split("/");
    const [namespace, ...rest] = parts[0] === "" ? parts.slice(1) : [process.env.__OW_NAMESPACE, ...parts];
    if (!web) return { url: `${host}/api/v1/namespaces/${namespace}/actions/${rest.join("/")}${path}` };
    const inPackage = rest.length > 1 ? rest : ["default", ...rest];
    return { url: `${host}/api/v1/web/${namespace}/${inPackage.join("/")}${ext}${path}` };
  },
  namespace: () => ({ namespace: process.env.__OW_NAMESPACE }),
  smash(params) {
    // Fields of lists side by side become one list.
    const { tool: _, ...given } = params;
    return { smashed: Object.values(given) };
  },
  sort: (params) => ({ lines: [...lines(params)].sort(), length: lines(params).length }),
  split(params) {
    const text = String(params.payload ?? "");
    const separator = params.separator === undefined ? /\r?\n/ : params.separator;
    const parts = text.split(separator);
    return { lines: parts, payload: text };
  },
};

function main(params) {
  const { tool, ...given } = params;
  return tools[tool](given);
}
