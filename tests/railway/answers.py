"""What the stand-in answers: the stage's deployments as Railway's types, and Railway's mutations as the stage's orders.

It knows the stage's JSON and Railway's words for it. It does not know HTTP to clients, tokens or faults: those are in api.py.
"""

import base64
import http.client
import json

from graphql import GraphQLError

REGION = "europe-west4-drams3a"
STATUS = {
    "queued": "QUEUED",
    "building": "BUILDING",
    "deploying": "DEPLOYING",
    "live": "SUCCESS",
    "failed": "FAILED",
    "removing": "REMOVING",
    "removed": "REMOVED",
    "crashed": "CRASHED",
    # Railway's schema has no word of its own for it.
    "cancelled": "REMOVED",
}
# A reply of the stage that takes longer means that the stage is gone.
STAGE_TIMEOUT = 20


class Stage:
    """The stage's own API."""

    def __init__(self, address):
        self.address = address

    def call(self, method, path, body=None):
        host, port = self.address.rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port), timeout=STAGE_TIMEOUT)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"content-type": "application/json"})
            reply = connection.getresponse()
            answer = json.loads(reply.read())
        finally:
            connection.close()
        if reply.status >= 400:
            raise GraphQLError(answer.get("error", "Problem processing request"))
        return answer

    def service(self):
        return self.call("GET", "/v1/service")

    def order(self, order, deployment):
        return self.call("POST", "/v1/orders", {"order": order, "deployment": deployment})["deployment"]

    def edit(self, variables, deploy, replace=False):
        body = {"set": variables, "deploy": deploy, "replace": replace}
        return self.call("POST", "/v1/variables", body)["deployment"]


class World:
    """What belongs to the service and is not the stage's: settings, domains, volumes, triggers."""

    def __init__(self):
        self.settings = {
            "healthcheckPath": "/api/health",
            "sleepApplication": False,
            "railwayConfigFile": None,
            "startCommand": None,
            "port": 8080,
            "volume": None,
            "tcp_port": None,
            "platform": {"isStable": True, "incident": None, "maintenance": None},
        }
        self.triggers = ["00000000-0000-4000-8000-0000000074d1"]


class Answers:
    """The root value of one operation. graphql-core calls its methods as resolvers."""

    def __init__(self, stage, world, asked, snapshot, late):
        self.stage, self.world, self.asked = stage, world, asked
        # Read once, so that one reply is of one moment; `snapshot` is an older moment where reads are stale.
        self._service = snapshot
        self.late = late

    # What is so.

    def service(self, fresh=False):
        if self._service is None or fresh:
            self._service = self.stage.service()
        return self._service

    def ids(self):
        return self.service()["ids"]

    def check(self, given):
        names = {"projectId": "project", "environmentId": "environment", "serviceId": "service"}
        for key, name in names.items():
            if given.get(key) not in (None, self.ids()[name]):
                raise GraphQLError("Not Authorized")

    def row(self, id):
        for row in self.service()["deployments"]:
            if row["id"] == id:
                return row
        raise GraphQLError("Deployment not found")

    def node(self, row):
        ids = self.ids()
        wanted = self.asked["faults"].get("status") or {}
        status = wanted.get(row["id"], STATUS[row["status"]])
        return {
            "__typename": "Deployment",
            "id": row["id"],
            "status": status,
            "createdAt": row["created_at"],
            "updatedAt": row["status_at"],
            "statusUpdatedAt": row["status_at"],
            "canRollback": row["restorable"],
            "canRedeploy": True,
            "deploymentStopped": all(one["state"] in ("removed", "crashed") for one in row["agents"]),
            "meta": self.meta(row),
            "projectId": ids["project"],
            "environmentId": ids["environment"],
            "serviceId": ids["service"],
            "snapshotId": row["id"].replace("-4", "-5", 1),
            "url": None,
            "staticUrl": None,
            "diagnosis": None,
            "creator": None,
            "sockets": [],
            "suggestAddServiceDomain": False,
            "instances": [{"id": one["id"], "status": one["state"].upper()} for one in row["agents"]],
            "environment": lambda info: self.environment_node(),
            "service": lambda info: self.service_node(),
        }

    def meta(self, row):
        service, settings = self.service(), self.world.settings
        replicas = {"numReplicas": service["replicas"]}
        return {
            "reason": row["reason"],
            "runtime": "V2",
            "branch": "main",
            "repo": "demo/demo",
            "commitHash": row["commit"],
            "commitMessage": "release " + row["release"],
            "commitAuthor": "demo",
            "imageDigest": row["image"],
            "rootDirectory": None,
            "configFile": settings["railwayConfigFile"],
            "volumeMounts": [settings["volume"]] if settings["volume"] else [],
            "serviceManifest": {
                "build": {"builder": "RAILPACK", "buildCommand": None},
                "deploy": {
                    "runtime": "V2",
                    "startCommand": settings["startCommand"],
                    "healthcheckPath": settings["healthcheckPath"],
                    "healthcheckTimeout": service["health_timeout_seconds"],
                    "overlapSeconds": service["overlap_seconds"],
                    "drainingSeconds": service["drain_seconds"],
                    "sleepApplication": settings["sleepApplication"],
                    "restartPolicyType": "ON_FAILURE",
                    "restartPolicyMaxRetries": service["restarts_max"],
                    "multiRegionConfig": {REGION: replicas},
                },
            },
        }

    def service_node(self):
        ids, at = self.ids(), self.service()["now"]
        return {"id": ids["service"], "name": "demo", "projectId": ids["project"], "createdAt": at, "updatedAt": at}

    def environment_node(self):
        ids, at = self.ids(), self.service()["now"]
        return {
            "id": ids["environment"],
            "name": "production",
            "projectId": ids["project"],
            "isEphemeral": False,
            "canAccess": True,
            "createdAt": at,
            "updatedAt": at,
            "configEtag": "1",
            "volumeInstances": lambda info, **page: connection(self.volumes(), page),
            "deployments": lambda info, **page: connection(self.newest_first(), page),
            "serviceInstances": lambda info, **page: connection([self.instance_node()], page),
            "deploymentTriggers": lambda info, **page: connection(self.trigger_nodes(), page),
        }

    def newest_first(self):
        return [self.node(row) for row in reversed(self.service()["deployments"])]

    def volumes(self):
        settings, ids, at = self.world.settings, self.ids(), self.service()["now"]
        if not settings["volume"]:
            return []
        return [
            {
                "id": "00000000-0000-4000-8000-000000000701",
                "volumeId": "00000000-0000-4000-8000-000000000702",
                "mountPath": settings["volume"],
                "serviceId": ids["service"],
                "environmentId": ids["environment"],
                "createdAt": at,
                "currentSizeMB": 1.0,
                "sizeMB": 500,
                "isPendingDeletion": False,
                "state": "READY",
                "region": REGION,
            }
        ]

    def domain_nodes(self):
        ids = self.ids()
        one = {
            "__typename": "ServiceDomain",
            "id": "00000000-0000-4000-8000-000000000d01",
            "domain": "demo.example",
            "serviceId": ids["service"],
            "environmentId": ids["environment"],
            "projectId": ids["project"],
            "targetPort": self.world.settings["port"],
            "syncStatus": "ACTIVE",
        }
        return {"serviceDomains": [one], "customDomains": []}

    def trigger_nodes(self):
        ids = self.ids()
        return [
            {
                "id": id,
                "branch": "main",
                "repository": "demo/demo",
                "provider": "github",
                "checkSuites": False,
                "validCheckSuites": 0,
                "projectId": ids["project"],
                "environmentId": ids["environment"],
                "serviceId": ids["service"],
            }
            for id in self.world.triggers
        ]

    def instance_node(self):
        service, settings, ids = self.service(), self.world.settings, self.ids()
        active = [self.node(row) for row in service["deployments"] if row["id"] == service["live"]]
        newest = self.newest_first()
        return {
            "id": "00000000-0000-4000-8000-000000000501",
            "serviceId": ids["service"],
            "serviceName": "demo",
            "environmentId": ids["environment"],
            # As Railway does for a service with regions: the truth is in the manifest.
            "numReplicas": 1,
            "region": None,
            "healthcheckPath": settings["healthcheckPath"],
            "healthcheckTimeout": service["health_timeout_seconds"],
            "overlapSeconds": service["overlap_seconds"],
            "drainingSeconds": service["drain_seconds"],
            "sleepApplication": settings["sleepApplication"],
            "railwayConfigFile": settings["railwayConfigFile"],
            "restartPolicyType": "ON_FAILURE",
            "restartPolicyMaxRetries": service["restarts_max"],
            "startCommand": settings["startCommand"],
            "cronSchedule": None,
            "builder": "RAILPACK",
            "watchPatterns": [],
            "isUpdatable": True,
            "createdAt": service["now"],
            "updatedAt": service["now"],
            "source": {"image": None, "repo": "demo/demo"},
            "domains": self.domain_nodes(),
            "latestDeployment": newest[0] if newest else None,
            "activeDeployments": active,
            "service": lambda info: self.service_node(),
        }

    def project_only(self):
        if self.asked["kind"] != "project":
            raise GraphQLError("Not Authorized")

    def not_with_a_project_token(self):
        if self.asked["kind"] == "project":
            raise GraphQLError("Bad Access")

    def did(self, text):
        self.asked["effects"].append(text)

    # Queries.

    def projectToken(self, info):
        self.project_only()
        ids, at = self.ids(), self.service()["now"]
        return {
            "id": "00000000-0000-4000-8000-0000000000f1",
            "name": "outrigger",
            "displayToken": "****",
            "createdAt": at,
            "projectId": ids["project"],
            "environmentId": ids["environment"],
            "environment": lambda info: self.environment_node(),
        }

    def deployments(self, info, input, **page):
        self.check(input)
        nodes = self.newest_first()
        status = input.get("status") or {}
        if status.get("in") is not None:
            nodes = [node for node in nodes if node["status"] in status["in"]]
        if status.get("notIn") is not None:
            nodes = [node for node in nodes if node["status"] not in status["notIn"]]
        return connection(nodes, page)

    def deployment(self, info, id):
        return self.node(self.row(id))

    def deploymentSnapshot(self, info, deploymentId):
        row = self.row(deploymentId)
        at = row["created_at"]
        return {"id": row["id"], "createdAt": at, "updatedAt": at, "variables": row["variables"]}

    def serviceInstance(self, info, **ids):
        self.check(ids)
        return self.instance_node()

    def environment(self, info, id, projectId=None):
        self.check({"environmentId": id, "projectId": projectId})
        return self.environment_node()

    def domains(self, info, **ids):
        self.check(ids)
        return self.domain_nodes()

    def tcpProxies(self, info, **ids):
        self.check(ids)
        port = self.world.settings["tcp_port"]
        if port is None:
            return []
        ids = self.ids()
        return [
            {
                "id": "00000000-0000-4000-8000-000000000c01",
                "applicationPort": port,
                "proxyPort": 10000,
                "domain": "proxy.example",
                "serviceId": ids["service"],
                "environmentId": ids["environment"],
                "syncStatus": "ACTIVE",
            }
        ]

    def serviceInstanceAutoDeployStatus(self, info, **ids):
        self.check(ids)
        return {"enabled": bool(self.world.triggers), "canEnable": True, "reason": None}

    def deploymentTriggers(self, info, environmentId, projectId, serviceId, **page):
        self.check({"environmentId": environmentId, "projectId": projectId, "serviceId": serviceId})
        return connection(self.trigger_nodes(), page)

    def variables(self, info, environmentId, projectId, serviceId=None, unrendered=None):
        self.check({"environmentId": environmentId, "projectId": projectId, "serviceId": serviceId})
        return self.service()["variables"] if serviceId else {}

    def platformStatus(self, info):
        unstable = self.asked["faults"].get("unstable")
        if not unstable:
            return self.world.settings["platform"]
        incident = {"id": "1", "message": unstable, "status": "INVESTIGATING", "url": "https://status.example/1"}
        return {"isStable": False, "incident": incident, "maintenance": None}

    # Mutations.

    def deploymentRollback(self, info, id):
        wanted = self.asked["faults"].get("rollback")
        if wanted == "nothing":
            return True
        if isinstance(wanted, dict) and "late" in wanted:
            self.late(wanted["late"], lambda: self.roll_back(id))
            return True
        self.roll_back(id)
        return True

    def roll_back(self, id):
        made = self.stage.order("roll_back", id)
        self.did(f"rollback of {id} made {made}")

    def deploymentRedeploy(self, info, id, usePreviousImageTag=None):
        made = self.stage.order("redeploy", id)
        self.did(f"redeploy of {id} made {made}")
        self.service(fresh=True)
        return self.node(self.row(made))

    def deploymentCancel(self, info, id):
        self.stage.order("cancel", id)
        self.did(f"cancelled {id}")
        return True

    def deploymentRestart(self, info, id):
        self.stage.order("restart", id)
        self.did(f"restarted {id}")
        return True

    def variableUpsert(self, info, input):
        return self.edit(input, {input["name"]: input["value"]}, False)

    def variableDelete(self, info, input):
        return self.edit(input, {input["name"]: None}, False)

    def variableCollectionUpsert(self, info, input):
        return self.edit(input, input["variables"], input.get("replace") or False)

    def edit(self, input, variables, replace):
        self.check(input)
        made = self.stage.edit(variables, not input.get("skipDeploys"), replace)
        names = ", ".join(sorted(variables))
        self.did(f"variables {names} edited" + (f", which made {made}" if made else ""))
        return True

    def serviceInstanceAutoDeployUpdate(self, info, input):
        self.not_with_a_project_token()
        self.check(input)
        self.world.triggers = self.world.triggers or ["00000000-0000-4000-8000-0000000074d2"]
        if not input["enabled"]:
            self.world.triggers = []
        self.did("auto deploy " + ("on" if input["enabled"] else "off"))
        return {"enabled": input["enabled"]}

    def deploymentTriggerCreate(self, info, input):
        self.not_with_a_project_token()
        raise GraphQLError("Problem processing request")

    def deploymentTriggerDelete(self, info, id):
        if id not in self.world.triggers:
            raise GraphQLError("Deployment trigger not found")
        self.world.triggers.remove(id)
        self.did(f"trigger {id} deleted")
        return True


def connection(nodes, page):
    """One page of nodes, by cursors."""
    cursor = lambda node: base64.b64encode(node["id"].encode()).decode()
    at = [cursor(node) for node in nodes]
    begin = at.index(page["after"]) + 1 if page.get("after") in at else 0
    end = at.index(page["before"]) if page.get("before") in at else len(nodes)
    if page.get("first") is not None:
        end = min(end, begin + page["first"])
    if page.get("last") is not None:
        begin = max(begin, end - page["last"])
    edges = [{"cursor": cursor(node), "node": node} for node in nodes[begin:end]]
    info = {
        "hasNextPage": end < len(nodes),
        "hasPreviousPage": begin > 0,
        "startCursor": edges[0]["cursor"] if edges else None,
        "endCursor": edges[-1]["cursor"] if edges else None,
    }
    return {"edges": edges, "pageInfo": info}
