# Runner of a gate's legs, for .ci/run and .ci/full to source: each leg has a name, a budget and a description.
#
#     leg NAME SECONDS DESCRIPTION        registers a leg; a function run-NAME does the work
#     main "$@"                           runs all legs, those that are named, or, with --list, none and lists them
#     is_changed NAME PATH…               whether a leg is named, or one of these has changed; if not, it says that it does not run
#     sources MANIFEST                    the folders of this repository that a package is built from, for is_changed
#
# What has changed is what differs from the merge base with main; on main itself, from the commit before. FIELDFIT_SINCE names
# another commit.
#
# A leg that exceeds its budget says so; the first that fails ends the run.

legs=()
declare -A budgets descriptions
scratch=$(mktemp -d)
current=
trap 'status=$?; clean; ((status == 0)) || [ -z "$current" ] || echo "FAILED: $current" >&2' EXIT

# Deletes the scratch folder; bundles have read-only files.
clean() {
    chmod -R u+w "$scratch"
    rm -rf "$scratch"
}

# ensure TOOL PACKAGE…: whether the tool is there, if need be from Debian's packages.
ensure() {
    command -v "$1" >/dev/null || apt-get install -y --no-install-recommends "${@:2}" || command -v "$1" >/dev/null
}

# Installs what makes virtual environments of Python, if it is missing; a leg without it says so.
ensure_venv() {
    python3 -c 'import ensurepip' 2>/dev/null || apt-get install -y --no-install-recommends python3-venv || true
}

sources() {
    cargo metadata --locked --format-version 1 --manifest-path "$1" | python3 -c '
import json, os, sys
for package in json.load(sys.stdin)["packages"]:
    if package["source"] is None:
        print(os.path.relpath(os.path.dirname(package["manifest_path"])))' || echo .
}

# The commit that changes are counted from; none where there is no history.
since() {
    local base main
    for main in origin/main main; do
        base=$(git merge-base HEAD "$main" 2>/dev/null) && break
    done
    [ "${base:-}" != "$(git rev-parse HEAD)" ] || base=HEAD^
    git rev-parse --verify --quiet "${FIELDFIT_SINCE:-$base}^{commit}"
}

is_changed() {
    local name=$1 base
    shift
    [[ " $named " != *" $name "* ]] && base=$(since) || return 0
    git diff --quiet "$base" -- "$@" && [ -z "$(git ls-files --others --exclude-standard -- "$@")" ] || return 0
    echo "NOT RUN: $name: nothing that it depends on has changed since $base; name the leg to run it" >&2
    return 1
}

leg() {
    legs+=("$1")
    budgets[$1]=$2 descriptions[$1]=$3
}

main() {
    if [ "${1:-}" = --list ]; then
        for name in "${legs[@]}"; do printf '%-16s %5s s  %s\n' "$name" "${budgets[$name]}" "${descriptions[$name]}"; done
        return
    fi
    local name selected=("$@") over=() named="$*"
    for name in "$@"; do
        if [ -z "${budgets[$name]:-}" ]; then
            echo "unknown leg: $name: expected some of ${legs[*]}" >&2
            exit 2
        fi
    done
    (($#)) || selected=("${legs[@]}")
    for name in "${selected[@]}"; do
        local begun=$SECONDS
        current=$name
        printf '\n== %s: %s (after %s s; budget %s s)\n' "$name" "${descriptions[$name]}" "$begun" "${budgets[$name]}"
        "run-$name"
        local took=$((SECONDS - begun))
        if ((took > budgets[$name])); then
            over+=("OVER BUDGET: $name: $took s, expected no more than ${budgets[$name]} s on two quiet cores")
            echo "${over[-1]}" >&2
        fi
    done
    printf '\n== done: %s (%s s)\n' "${selected[*]}" "$SECONDS"
    for name in "${over[@]}"; do echo "$name" >&2; done
}
