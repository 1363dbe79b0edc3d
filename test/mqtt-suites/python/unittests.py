# Runs one test, or all, in a file of the Paho interoperability tests against a broker: `unittests.py FILE HOST PORT [NAME]`. The file takes
# its address from names in its own module, which only its command line sets, and that gets in the way of unittest's. One
# line of JSON a test goes to the standard output behind a mark; what the tests print goes there too.

import importlib.util
import json
import os
import sys
import unittest

TOPICS = ["TopicA", "TopicA/B", "Topic/C", "TopicA/C", "/TopicA"]
FILTERS = ["TopicA/+", "+/C", "#", "/#", "/+", "+/+", "TopicA/#"]


class Lines(unittest.TestResult):
    def say(self, test, why=None):
        line = json.dumps({"name": test.id().split(".")[-1], "why": why})
        print("\n@@@ " + line, flush=True)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.say(test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.say(test, f"{err[0].__name__}: {err[1]}")

    def addError(self, test, err):
        super().addError(test, err)
        self.say(test, f"{err[0].__name__}: {err[1]}")


def main(file, host, port, only=""):
    sys.path.insert(0, os.path.dirname(os.path.abspath(file)))
    spec = importlib.util.spec_from_file_location("suite", file)
    suite = importlib.util.module_from_spec(spec)
    suite.host, suite.port = host, int(port)
    suite.topics, suite.wildtopics, suite.topic_prefix = TOPICS, FILTERS, "client_test5/"
    suite.nosubscribe_topics = ("test/nosubscribe",)
    spec.loader.exec_module(suite)
    tests = unittest.defaultTestLoader.loadTestsFromTestCase(suite.Test)
    chosen = unittest.TestSuite(test for test in tests if only in ("", test.id().split(".")[-1]))
    result = chosen.run(Lines())
    sys.stdout.flush()
    # The clients of the suite leave threads behind.
    os._exit(0 if result.wasSuccessful() else 1)


main(*sys.argv[1:])
