"""A stand-in for Railway's GraphQL API, before the stage: its schema is the real one, and a third party's engine (graphql-core)
holds every document and every answer against it.

    python api.py SCHEMA        the first line of its input is {"project_token", "account_token", "stage": "HOST:PORT"|null}

It prints `listening PORT`, and ends with its input. `POST /graphql/v2` is Railway's; `POST /_stage`, `/_faults` and `/_service`
and `GET /_log` are the tests'. What of Railway's behaviour is not known is as it is here by choice: docs/RAILWAY.md.

Faults, as one JSON object that replaces the one before; `{}` is none:
    token_revoked   true: no token is known any more
    limited         {"retry_after": S}: the budget of requests is spent
    unstable        TEXT: the platform has an incident
    gone, renamed   [TYPE.FIELD], {TYPE.FIELD: NAME}: the schema is another one
    status          {DEPLOYMENT: STATUS}: also one that the schema did not have; it has it then
    rollback        "nothing": answered with true, and nothing is done; {"late": S}: done so much later
    stale           S: for so long reads show what is so now
    slow            S: what was asked is done, and answered so much later
    http, body      STATUS, "html"|"cut"|"huge": what was asked is done (or not, with "undone": true) and this is answered
    only, times     slow, http and body are for operations with one of these fields, and for so many of them
"""

import json
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from graphql import (
    GraphQLError,
    GraphQLInputObjectType,
    OperationType,
    build_ast_schema,
    execute_sync,
    get_operation_ast,
    parse,
    validate,
)
from graphql.language import EnumTypeDefinitionNode, EnumValueDefinitionNode, NameNode

from answers import STATUS, Answers, Stage, World

LIMIT = 1000
WINDOW = 3600
# The longest request that is read; a longer one is refused.
BODY_MAX = 1 << 20
# What a huge reply is made of.
HUGE = b" " * (32 << 20)
# Kept of the log; more operations are not logged, and counted only.
LOG_MAX = 10000
# The values of these arguments are nobody's business.
SECRET = re.compile("value|variables|token", re.I)


class Api:
    """All state, behind one lock."""

    def __init__(self, source, told):
        self.source = source
        self.tokens = {"project": told["project_token"], "account": told["account_token"]}
        self.lock = threading.RLock()
        self.world = World()
        self.stage = Stage(told.get("stage"))
        self.log = []
        self.faults, self.times, self.stale = {}, None, None
        self.schemas = {}
        self.window, self.spent = time.time(), 0
        self.schema()

    # The schema as it is served now.

    def schema(self):
        faults = self.faults
        statuses = set((faults.get("status") or {}).values()) - set(STATUS.values())
        key = json.dumps([faults.get("gone"), faults.get("renamed"), sorted(statuses)])
        if key not in self.schemas:
            self.schemas[key] = self.make_schema(faults.get("gone") or [], faults.get("renamed") or {}, statuses)
        return self.schemas[key]

    def make_schema(self, gone, renamed, statuses):
        document = parse(self.source, no_location=True)
        for definition in document.definitions:
            if not getattr(definition, "fields", None):
                if isinstance(definition, EnumTypeDefinitionNode) and definition.name.value == "DeploymentStatus":
                    known = {value.name.value for value in definition.values}
                    new = [EnumValueDefinitionNode(name=NameNode(value=name), directives=()) for name in statuses - known]
                    definition.values = (*definition.values, *new)
                continue
            path = lambda field: f"{definition.name.value}.{field.name.value}"
            definition.fields = tuple(field for field in definition.fields if path(field) not in gone)
            for field in definition.fields:
                if path(field) in renamed:
                    field.name = NameNode(value=renamed[path(field)])
        # Its `Team.id` is deprecated and the interface's is not, which a strict check refuses.
        return build_ast_schema(document, assume_valid=True)

    # What tests say.

    def set_faults(self, faults):
        with self.lock:
            self.faults, self.times, self.stale = faults, faults.get("times"), None
            if faults.get("stale"):
                self.stale = (time.monotonic() + faults["stale"], self.stage.service())

    def applies(self, fields):
        """The faults of a reply, and that one more of them is used up."""
        faults = self.faults
        if not any(name in faults for name in ("slow", "http", "body")):
            return {}
        if faults.get("only") and not set(faults["only"]) & set(fields):
            return {}
        if self.times is not None:
            if self.times <= 0:
                return {}
            self.times -= 1
        return {name: faults[name] for name in ("slow", "http", "body", "undone") if name in faults}

    # Limits.

    def spend(self):
        now = time.time()
        if now - self.window >= WINDOW:
            self.window, self.spent = now, 0
        self.spent += 1
        limited = self.faults.get("limited")
        remaining = 0 if limited else max(0, LIMIT - self.spent)
        reset = int(now + limited["retry_after"] if limited else self.window + WINDOW)
        headers = {
            "X-RateLimit-Limit": str(LIMIT),
            "X-RateLimit-Remaining": str(remaining),
            "X-RateLimit-Reset": str(reset),
        }
        if limited or self.spent > LIMIT:
            headers["Retry-After"] = str(max(1, reset - int(now)))
            return headers, False
        return headers, True

    def who(self, headers):
        if self.faults.get("token_revoked"):
            return None
        if headers.get("Project-Access-Token") == self.tokens["project"]:
            return "project"
        if headers.get("Authorization") == "Bearer " + self.tokens["account"]:
            return "account"
        return None

    # One operation.

    def answer(self, headers, body):
        """Status, headers and body; and what is wrong with how they are sent."""
        with self.lock:
            limits, allowed = self.spend()
            asked = {"kind": self.who(headers), "faults": self.faults, "effects": []}
            entry = {"n": len(self.log) + 1, "at": time.time(), "auth": asked["kind"], "effects": asked["effects"]}
            if len(self.log) < LOG_MAX:
                self.log.append(entry)
            schema = self.schema()
            stale = self.stale[1] if self.stale and time.monotonic() < self.stale[0] else None
        status, reply = 429, failed("Too many requests")
        trouble = {}
        if allowed:
            operation = Operation(schema, body)
            entry.update(operation.shown())
            with self.lock:
                trouble = self.applies(entry["fields"])
            if trouble.get("undone"):
                status, reply = 200, failed("undone")
            elif asked["kind"] is None:
                status, reply = 200, failed("Not Authorized")
            else:
                root = Answers(self.stage, self.world, asked, stale, lambda s, do: self.later(s, do))
                status, reply = operation.run(root)
        status = trouble.get("http", status)
        entry["status"] = status
        entry["errors"] = [error["message"] for error in reply.get("errors") or []]
        return status, {**limits, "Content-Type": "application/json"}, json.dumps(reply).encode(), trouble

    def later(self, seconds, do):
        timer = threading.Timer(seconds, do)
        timer.daemon = True
        timer.start()


class Operation:
    """A document with its variables, held against the schema."""

    def __init__(self, schema, body):
        self.schema, self.document, self.operation = schema, None, None
        self.fault = None
        try:
            told = json.loads(body)
            self.variables = told.get("variables") or {}
            self.name = told.get("operationName")
            self.document = parse(told["query"])
            self.operation = get_operation_ast(self.document, self.name)
            errors = validate(schema, self.document)
            if errors:
                # Railway tells all faults of a document with 200, but that of a field that an input has not.
                strange = any(self.is_input_fault(error) for error in errors)
                self.fault = (400 if strange else 200, [error.formatted for error in errors])
        except GraphQLError as error:
            self.fault = (400, [error.formatted])
        except (ValueError, KeyError, TypeError, AttributeError):
            self.fault = (400, [{"message": "that is no GraphQL request"}])
            self.variables, self.name = {}, None
        for error in self.fault[1] if self.fault else []:
            error.setdefault("extensions", {"code": "GRAPHQL_VALIDATION_FAILED"})

    def is_input_fault(self, error):
        found = re.search(r"is not defined by type '(\w+)'", error.message)
        return bool(found) and isinstance(self.schema.type_map.get(found[1]), GraphQLInputObjectType)

    def shown(self):
        if self.operation is None:
            return {"fields": [], "kind": None, "operation": self.name, "variables": {}}
        selections = self.operation.selection_set.selections
        name = self.operation.name.value if self.operation.name else None
        fields = [selection.name.value for selection in selections if hasattr(selection, "name")]
        kind = self.operation.operation.value
        return {"fields": fields, "kind": kind, "operation": name, "variables": public(self.variables)}

    def run(self, root):
        if self.fault:
            return self.fault[0], {"errors": self.fault[1]}
        if self.operation is None or self.operation.operation == OperationType.SUBSCRIPTION:
            return 400, failed("that operation is not served here")
        try:
            result = execute_sync(
                self.schema,
                self.document,
                root_value=Root(root),
                variable_values=self.variables,
                operation_name=self.name,
            )
        except OSError:
            return 200, failed("Problem processing request")
        reply = {"data": result.data}
        status = 200
        if result.errors:
            reply["errors"] = [masked(error) for error in result.errors]
            # What variables hold is checked at execution.
            if any("is not defined by type" in error.message for error in result.errors):
                status = 400
        return status, reply


class Root:
    """Only what is answered at the root; all else of the schema has no resolver and says so."""

    def __init__(self, answers):
        self.answers = answers

    def __getattr__(self, name):
        found = getattr(self.answers, name, None)
        if found is None or name.startswith("_"):
            raise GraphQLError(f"the stand-in does not answer `{name}`")
        return found


def masked(error):
    shown = error.formatted
    if error.original_error is not None and not isinstance(error.original_error, GraphQLError):
        print(repr(error.original_error), file=sys.stderr, flush=True)
        shown["message"] = "Problem processing request"
    shown.setdefault("extensions", {"code": "INTERNAL_SERVER_ERROR"})
    return shown


def failed(message):
    return {"errors": [{"message": message, "extensions": {"code": "INTERNAL_SERVER_ERROR"}}], "data": None}


def public(value, name=""):
    """Variables without what is secret in them."""
    if isinstance(value, dict):
        return {key: public(part, key) for key, part in value.items()}
    if isinstance(value, list):
        return [public(part, name) for part in value]
    return "…" if SECRET.search(name) else value


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api = None

    def do_GET(self):
        if self.path == "/_log":
            with self.api.lock:
                log = json.dumps(self.api.log).encode()
            return self.send(200, {}, log)
        return self.send(404, {}, b"{}")

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        if length > BODY_MAX:
            self.close_connection = True
            return self.send(413, {}, b"{}")
        body = self.rfile.read(length)
        if self.path == "/graphql/v2":
            return self.graphql(body)
        told = json.loads(body)
        if self.path == "/_faults":
            self.api.set_faults(told)
        elif self.path == "/_stage":
            self.api.stage.address = told["address"]
        elif self.path == "/_service":
            self.api.world.settings.update(told)
        else:
            return self.send(404, {}, b"{}")
        return self.send(200, {}, b"{}")

    def graphql(self, body):
        status, headers, reply, trouble = self.api.answer(self.headers, body)
        if trouble.get("slow"):
            time.sleep(trouble["slow"])
        how = trouble.get("body")
        if how == "html":
            headers["Content-Type"], reply = "text/html", b"<html><body>Bad gateway</body></html>"
        elif how == "huge":
            reply = reply[:-1] + HUGE + reply[-1:]
        elif how == "cut":
            self.close_connection = True
            return self.send(status, headers, reply, cut=len(reply) // 2)
        return self.send(status, headers, reply)

    def send(self, status, headers, reply, cut=None):
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply[:cut])
        except OSError:
            # Whoever asked has hung up: its affair.
            self.close_connection = True

    def log_message(self, format, *arguments):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main():
    told = json.loads(sys.stdin.readline())
    with open(sys.argv[1], encoding="utf-8") as file:
        Handler.api = Api(file.read(), told)
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("listening", server.server_address[1], flush=True)
    # It ends with whoever started it.
    sys.stdin.read()


main()
