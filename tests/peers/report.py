"""Prints what was measured."""

from measuring import best

MARK = " *"


def table(rows: list[list[dict]]) -> str:
    """A line a rival; the fastest of each row's is marked."""
    name, peer = 18, 38
    lines = [
        f"{'':{name}} {'':{peer}} {'ours, ms':^15} {'theirs, ms':^15} {'ours / theirs':^20} {'CPU, ms':^15} {'peak, MiB':^20}",
        f"{'row':{name}} {'compared with':{peer}} " + " ".join(
            [f"{'median':>7} {'least':>7}"] * 2
            + [f"{'median':>6} {'min':>6} {'max':>6}", f"{'ours':>7} {'theirs':>7}", f"{'ours':>6} {'theirs':>6} {'ratio':>6}"]
        ),
    ]
    for results in rows:
        fastest = best(results)
        for result in results:
            mark = MARK if result is fastest and len(results) > 1 else ""
            lines.append(f"{result['row']:{name}} {result['peer'] + mark:{peer}} {figures(result)}")
    return "\n".join(lines)


def figures(result: dict) -> str:
    ours, theirs, ratio = result["ours"], result["theirs"], result["ratio"]
    times = (
        f"{ours['ms']:7.1f} {ours['least_ms']:7.1f} {theirs['ms']:7.1f} {theirs['least_ms']:7.1f} "
        f"{ratio['median']:6.2f} {ratio['min']:6.2f} {ratio['max']:6.2f}"
    )
    if "memory_ratio" not in result:
        return times
    return (
        f"{times} {ours['cpu_ms']:7.1f} {theirs['cpu_ms']:7.1f} "
        f"{ours['peak_mib']:6.0f} {theirs['peak_mib']:6.0f} {result['memory_ratio']:6.3f}"
    )


def growth(points: list[dict]) -> str:
    """A line a size."""
    lines = [f"{'work':6} {'px':>4} {'batch':>5} {'threads':>7} {'ours, ms':>9} {'theirs':>9} {'ratio':>6} "
             f"{'ours, MiB':>9} {'theirs':>7} {'ratio':>6}  theirs"]
    for point in points:
        result = best(point["results"])
        ours, theirs = result["ours"], result["theirs"]
        lines.append(
            f"{point['work']:6} {point['side']:4} {point['batch']:5} {point['threads']:7} "
            f"{ours['ms']:9.1f} {theirs['ms']:9.1f} {result['ratio']['median']:6.2f} "
            f"{ours['peak_mib']:9.0f} {theirs['peak_mib']:7.0f} {result['memory_ratio']:6.3f}  {result['peer']}"
        )
    return "\n".join(lines)


def footer(report: dict) -> str:
    loads = " to ".join(f"{load:.2f}" for load in report["load"])
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    before, after = report["machine"]
    lines = [
        "Ratios are of paired turns, ours / theirs; * the fastest of theirs, which is the one to quote.",
        f"{report['date']}, {report['cpu']}, {report['threads']} threads, {versions}; load average {loads}.",
        f"The machine's own, before and after: matrix product {before['gemm_gflops']:.0f} and "
        f"{after['gemm_gflops']:.0f} GFLOP/s, copy {before['copy_gbs']:.1f} and {after['copy_gbs']:.1f} GB/s "
        "(read and written).",
    ]
    if report["profile"] != "release":
        lines.append(f"Not to be quoted: our side was built in the profile {report['profile']}.")
    if report["busy"]:
        lines.append("Not to be quoted: other work left too few cores, where threads that spin lose the most.")
    return "\n".join(lines)
