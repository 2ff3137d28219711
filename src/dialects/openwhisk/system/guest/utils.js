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
    const { web, ext = "", trigger = "", path = "", action } = params;
    const [, namespace, ...rest] = (process.env.__OW_CALLER_NAME ?? process.env.__OW_ACTION_NAME).split("/");
    const packageName = rest.length > 1 ? rest[0] : "default";
    const kind = trigger ? `triggers/${trigger}` : `actions/${action ?? rest.join("/")}`;
    return web
      ? { url: `${host}/api/v1/web/${namespace}/${packageName}/${action ?? rest.at(-1)}${ext}${path}` }
      : { url: `${host}/api/v1/namespaces/${namespace}/${kind}${path}` };
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
