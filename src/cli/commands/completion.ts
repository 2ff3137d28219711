import { VirgaError } from "../../core/errors.ts";
import { command } from "../command.ts";
import { candidates } from "../completion.ts";
import { exit } from "../exit.ts";

export const completion = command({
  name: "completion",
  summary: "print the shell's completion script",
  examples: [
    "bash: source <(virga completion bash)                      in ~/.bashrc",
    "zsh:  source <(virga completion zsh)                       in ~/.zshrc, after compinit",
    "fish: virga completion fish > ~/.config/fish/completions/virga.fish",
  ],
  arguments: { shell: { kind: "required", summary: "which one", choices: ["bash", "zsh", "fish"] } },
  options: {},
  run({ terminal }, given) {
    const script = scripts[given.shell];
    if (script === undefined) throw new VirgaError("bad_request", `${given.shell} is not known`);
    terminal.print(script);
    return Promise.resolve();
  },
});

/** Asked by the scripts at each TAB, so that there is one place that knows: the words so far, the last one unfinished. */
export const complete = command({
  name: "__complete",
  summary: "candidates for the last word",
  hidden: true,
  arguments: { words: { kind: "rest", summary: "the words after `virga`" } },
  options: {},
  async run(context, given) {
    for (const { word, summary } of await candidates(context, given.words)) {
      context.terminal.print(summary === undefined ? word : `${word}\t${summary}`);
    }
    return exit.ok;
  },
});

/** Files are the shell's own business: it is told `:files` and does what it always does. */
const scripts: Readonly<Record<string, string>> = {
  bash: `_virga() {
  local IFS=$'\\n' line
  COMPREPLY=()
  while IFS= read -r line; do
    if [[ $line == ":files" ]]; then
      COMPREPLY+=($(compgen -f -- "\${COMP_WORDS[COMP_CWORD]}"))
      compopt -o filenames 2>/dev/null
    else
      COMPREPLY+=("\${line%%$'\\t'*}")
    fi
  done < <(virga __complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _virga virga`,
  zsh: `#compdef virga
_virga() {
  local -a found
  local line
  while IFS= read -r line; do
    if [[ $line == ":files" ]]; then
      _files
    else
      found+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}")
    fi
  done < <(virga __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)
  (( \${#found} )) && _describe virga found
}
compdef _virga virga`,
  fish: `function __virga_complete
    set -l words (commandline -opc)[2..-1] (commandline -ct)
    for line in (virga __complete -- $words 2>/dev/null)
        if test "$line" = ":files"
            __fish_complete_path (commandline -ct)
        else
            echo $line
        end
    end
end
complete -c virga -f -a '(__virga_complete)'`,
};
