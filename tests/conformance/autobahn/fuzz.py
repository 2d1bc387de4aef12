"""Runs the Autobahn fuzzing client against `/debug/echo` of a server of its own, and judges: fuzz.py PATTERN….

Strict: a case passes when the suite says OK for its behaviour and its closing, or INFORMATIONAL where the case itself knows no
other outcome. NON-STRICT, UNIMPLEMENTED and a case that did not run are failures. Patterns are the suite's own (`6.*`).
"""

import json
import os
import shutil
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
WORK = HERE / ".work"
sys.path[:0] = [str(WORK / "suite"), str(HERE), str(HERE.parents[1] / "outside")]

import latin  # noqa: E402
from server import Server  # noqa: E402

AGENT = "chatroom"
ALL_CASES = 517
INFORMATIONAL = {"7.1.6", "7.13.1", "7.13.2"}
"""The cases that the suite judges so whatever happens: it sets INFORMATIONAL in their source and nothing else."""


def main(patterns):
    report = WORK / "report"
    shutil.rmtree(report, ignore_errors=True)
    shutil.rmtree(WORK / "server", ignore_errors=True)
    server = Server(WORK / "server", DEBUG_ECHO="on").start()
    began = time.monotonic()
    try:
        cases = fuzz(f"ws://{server.authority}/debug/echo", patterns, report)
        server.check()
    finally:
        server.stop()
    if patterns == ["*"]:
        assert len(cases) == ALL_CASES, f"{len(cases)} cases instead of {ALL_CASES}: is this another release?"
    failed = judge(cases, json.loads((report / "index.json").read_text()).get(AGENT, {}), report)
    print(f"autobahn: {len(cases) - failed} of {len(cases)} cases passed, in {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


def fuzz(url, patterns, report):
    """Runs the cases; returns their ids."""
    from autobahntestsuite import fuzzing
    from twisted.internet import reactor

    class Protocol(latin.Edge, fuzzing.FuzzingClientProtocol):
        def onConnect(self, response):
            if os.environ.get("VERBOSE"):
                print("case", self.factory.currentCaseId, flush=True)

    class Factory(fuzzing.FuzzingClientFactory):
        def buildProtocol(self, addr):
            made = Protocol()
            made.factory, made.caseAgent, made.case = self, self.agent, self.currentCaseIndex
            made.Case = fuzzing.Cases[self.currentCaseIndex - 1]
            made.runCase = made.Case(made)
            return made

        def createReports(self):
            report.mkdir(parents=True, exist_ok=True)
            self.createMasterReportJSON(str(report))
            for case, found in self.agents.get(AGENT, {}).items():
                name = self.makeAgentCaseReportFilename(AGENT, case, ext="json")
                (report / name).write_text(json.dumps(found, indent=1, default=latin.text))

    quiet = open(os.devnull, "w")
    said, sys.stdout = sys.stdout, sys.stdout if os.environ.get("VERBOSE") else quiet
    try:
        factory = Factory({"outdir": str(report), "servers": [{"agent": AGENT, "url": url}], "cases": patterns})
    finally:
        sys.stdout = said
    reactor.run()
    return factory.specCases


def judge(cases, results, report):
    """Prints what failed, and where the log of its frames is; returns how many."""
    failed = 0
    for case in cases:
        found = results.get(case, {"behavior": "DID NOT RUN", "behaviorClose": "DID NOT RUN"})
        allowed = {"OK", "INFORMATIONAL"} if case in INFORMATIONAL else {"OK"}
        if found["behavior"] in allowed and found["behaviorClose"] in allowed:
            continue
        failed += 1
        print(f"case {case}: {found['behavior']}, closing {found['behaviorClose']}")
        if "reportfile" in found:
            detail = json.loads((report / found["reportfile"]).read_text())
            print(f"    {' '.join(detail['description'].split())[:200]}")
            print(f"    {detail['result']} {detail['resultClose']} ({detail['duration']} ms, {report / found['reportfile']})")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["*"]))
