// What is written into a bundle beside the function's own code: by it each module has what belongs to its own file, and Node knows
// of the modules. The functions at the end are written there as text.

/** Stands first in the bundle. */
export function banner(isModule) {
  const needs = { __virga_module: "node:module", __virga_path: "node:path", __virga_url: "node:url" };
  const imports = Object.entries(needs).map(([name, id]) =>
    isModule ? `import ${name} from "${id}"` : `const ${name}=require("${id}")`,
  );
  const own = isModule
    ? [
        "const require=__virga_module.createRequire(import.meta.url)",
        "const __virga_root=__virga_path.join(import.meta.dirname,'../..')",
        "const __virga_resolve=(specifier)=>import.meta.resolve(specifier)",
      ]
    : [
        "const __virga_root=__virga_path.join(__dirname,'../..')",
        "const __virga_resolve=(specifier)=>__virga_url.pathToFileURL(require.resolve(specifier)).href",
      ];
  const given = {
    __virga_placeOf: String(placeOf),
    __virga_bundled: `(${String(modulePrototype)})()`,
    __virga_register: String(register),
  };
  return [...imports, ...own, ...Object.entries(given).map(([name, value]) => `const ${name}=${value}`), ""].join(
    ";\n",
  );
}

/** Stands first in an ES module of the bundle. */
export function esmPrelude(input) {
  return `var{meta:__virga_meta,import:__virga_import}=__virga_placeOf(${JSON.stringify(input)});`;
}

/** Stands first in a CommonJS module: `return` where Node has loaded the same file by itself: there is one of each. */
export function cjsPrelude(input, usesPlace) {
  const place = "filename:__filename,dirname:__dirname,require:__virga_require,import:__virga_import";
  const path = JSON.stringify(input);
  return `if(__virga_register(module,${path}))return;${usesPlace ? `var{${place}}=__virga_placeOf(${path});` : ""}`;
}

/** What a module has of its own file: Node's own, as if it had loaded it from there. */
function placeOf(input) {
  const filename = __virga_path.join(__virga_root, input);
  const { href } = __virga_url.pathToFileURL(filename);
  const dirname = __virga_path.dirname(filename);
  const require = __virga_module.createRequire(filename);
  const isPath = /^\.{0,2}\//;
  return {
    filename,
    dirname,
    require,
    import: (specifier, options) => import(isPath.test(specifier) ? new URL(specifier, href).href : specifier, options),
    meta: {
      __proto__: null,
      dirname,
      filename,
      main: false,
      url: href,
      resolve: (specifier) => (isPath.test(specifier) ? new URL(specifier, href).href : __virga_resolve(specifier)),
    },
  };
}

/** Makes known to Node what the bundle loads, for the modules that Node loads by itself. True: it has this one already. */
function register(module, input) {
  const filename = `${__virga_root}/${input}`;
  const known = require.cache[filename];
  if (known !== undefined && Object.getPrototypeOf(known) !== __virga_bundled) {
    module.exports = known.exports;
    return true;
  }
  module.id = module.filename = filename;
  for (const name of ["path", "paths"]) delete module[name]; // the handler's module may be that of the bundle itself
  Object.setPrototypeOf(module, __virga_bundled);
  require.cache[filename] = module;
  return false;
}

/** Of bundled modules: what Node's have, made when it is asked for. */
function modulePrototype() {
  return Object.create(__virga_module.prototype, {
    loaded: { value: true, writable: true },
    children: { value: [] },
    path: {
      get() {
        return __virga_path.dirname(this.filename);
      },
    },
    paths: {
      get() {
        const value = __virga_module._nodeModulePaths(this.path);
        Object.defineProperty(this, "paths", { value, writable: true });
        return value;
      },
    },
  });
}
