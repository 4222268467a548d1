# shellcheck shell=bash disable=SC2034,SC2154 # what one of the files sets, another uses
# From $out/results.jsonl and $out/night.json to what people and machines read: summary.md, junit.xml, and the exit code.
# For ci/nightly and ci/gate.
#
# The exit code is that of the worst cell: 1 a violation (invalid), else 3 the harness failed or missed what it had to find
# (failed, missed), else 2 a cell that says nothing (vacuous, unknown), or none at all, or not all of them, else 0. In a
# gate (`strict`) a leg that was skipped says nothing, too.

night_exit_code() { # STRICT
  jq -rs --argjson strict "$1" --slurpfile night "$out/night.json" '
    map(.verdict) as $verdicts | def any_of(names): any($verdicts[]; IN(names[]));
    if any_of(["invalid"]) then 1 elif any_of(["failed", "missed"]) then 3
    elif any_of(["vacuous", "unknown"]) or $night[0].interrupted or ($verdicts - ["skipped"] == [])
      or ($strict and any_of(["skipped"])) then 2
    else 0 end' "$out/results.jsonl"
}

write_summary() {
  jq -rs --slurpfile night "$out/night.json" '
    $night[0] as $night
    | def green: .verdict | IN("valid", "found");
      def cell: tostring | gsub("[\\n|]"; " ");
      def count: map(.verdict) | group_by(.) | map("\(length) \(.[0])") | join(", ");
    [.[] | select((green or .verdict == "skipped") | not)] as $red
    | "# \($night.title)",
      "",
      (if length == 0 then "Nothing was run." else "\(length) cells: \(count)." end)
        + (if $night.not_begun > 0 then " For \($night.not_begun) more there was no time." else "" end)
        + (if $night.interrupted then " It was interrupted: what comes here is all that was run." else "" end),
      "",
      "Commit \($night.commit) · seed \($night.seed) · \($night.began) to \($night.ended) · \($night.machine)",
      "",
      "| cell | verdict | operations | faults | seconds | again |",
      "|---|---|--:|--:|--:|---|",
      (.[] | "| \(.cell) | \(if green or .verdict == "skipped" then .verdict else "**\(.verdict)**" end) | \(.operations // "") | \(.faults // "") | \(.seconds | floor) | `\(.command | cell)` |"),
      (if $red == [] then empty else "", "## Not green" end),
      ($red[] | "", "### \(.cell): \(.verdict)", "", (.sentence // "no reason is known" | gsub("[\\n]"; "  \n")), "",
        "    \(.command)", "",
        (if .run then "- run: `\(.run)`" else empty end), (if .pack then "- pack: `\(.pack)`" else empty end),
        (if .run and (.cell | startswith("run/")) then "- with the faults as they came: `assay replay \(.run)`" else empty end)),
      ([.[] | select(.verdict == "skipped")] as $skipped | if $skipped == [] then empty else "", "## Skipped", "",
        ($skipped[] | "- \(.cell), because \(.sentence)") end)' "$out/results.jsonl" >"$out/summary.md"
}

write_junit() {
  jq -rs --slurpfile night "$out/night.json" '
    def text: tostring | explode | map(if . < 32 and (IN(9, 10) | not) then 63 else . end) | implode | @html;
    def attribute: text | gsub("\\n"; "&#10;");
    def failure: .verdict | IN("invalid", "missed", "vacuous", "unknown");
    def totals: "tests=\"\(length)\" failures=\"\(map(select(failure)) | length)\" errors=\"\(map(select(.verdict == "failed")) | length)\""
      + " skipped=\"\(map(select(.verdict == "skipped")) | length)\" time=\"\(map(.seconds) | add // 0 | floor)\"";
    def details: "\(.command)\(if .run then "\nrun: \(.run)" else "" end)\(if .pack then "\npack: \(.pack)" else "" end)";
    def outcome:
      if failure then "<failure type=\"\(.verdict)\" message=\"\(.sentence | attribute)\">\(details | text)</failure>"
      elif .verdict == "failed" then "<error type=\"failed\" message=\"\(.sentence | attribute)\">\(details | text)</error>"
      elif .verdict == "skipped" then "<skipped message=\"\(.sentence | attribute)\"/>"
      else "<system-out>\(details | text)</system-out>" end;
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>",
    "<testsuites name=\"\($night[0].title | attribute)\" \(totals)>",
    (group_by(.cell | split("/")[0])[]
      | "<testsuite name=\"\(.[0].cell | split("/")[0])\" timestamp=\"\($night[0].began | rtrimstr("Z"))\" \(totals)>",
        (.[] | (.cell | split("/")) as $parts
          | "<testcase classname=\"assay.\($parts[0])\" name=\"\($parts[1:] | join("/") | attribute)\" time=\"\(.seconds * 1000 | floor / 1000)\">\(outcome)</testcase>"),
        "</testsuite>"),
    "</testsuites>"' "$out/results.jsonl" >"$out/junit.xml"
}

# write_night TITLE SEED BEGAN: what is told of the night as a whole.
write_night() {
  local commit
  commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
  [ -z "$(git status --porcelain --untracked-files=no 2>/dev/null)" ] || commit+=" with changes"
  jq -n --arg title "$1" --arg seed "$2" --arg began "$3" --arg ended "$(date -u +%Y-%m-%dT%H:%M:%SZ)" --arg commit "$commit" \
    --arg machine "$(nproc) processors, $(uname -sr)" --argjson interrupted "$interrupted" --argjson not_begun "$not_begun" \
    '{title: $title, seed: $seed, began: $began, ended: $ended, commit: $commit, machine: $machine, interrupted: $interrupted, not_begun: $not_begun}' \
    >"$out/night.json"
}

# end_night TITLE SEED BEGAN STRICT: writes everything and ends the script with the exit code of the night.
end_night() {
  local code
  write_night "$1" "$2" "$3"
  write_summary
  write_junit
  code=$(night_exit_code "$4")
  say "$out/summary.md, $out/junit.xml: exit code $code"
  exit "$code"
}
