"""`launch/gke/jobset.sh`: the manifest that it applies, as Kubernetes would read it."""

import re
from typing import Any

import pytest
import yaml

from tests.launch.cloud import Cloud

SCRIPT = "gke/jobset.sh"
GIVEN = ["--name=im", "--topology=v5e:8x8", "--image=europe-docker.pkg.dev/p/r/im_jax:1"]
COMMAND = [
    "--",
    "python",
    "-m",
    "im_jax.train",
    "--workdir=/mnt/a b",
    "$(A) $$ \"'\\",
    "@NAME@",
    "a\nb",
    "no: yes",
]


def expanded(text: str, variables: dict[str, str]) -> str:
    """As Kubernetes fills in a command: $(NAME) by its value where there is one, $$ by $."""
    return re.sub(
        r"\$(\$|\((\w+)\))", lambda found: "$" if found[1] == "$" else variables.get(found[2], found[0]), text
    )


def manifest(cloud: Cloud, *options: str) -> dict[str, Any]:
    out, _ = cloud.run(SCRIPT, *GIVEN, *options, "--dry_run", *COMMAND)
    assert out.startswith("# kubectl ")
    return yaml.safe_load(out)


def pod_of(jobset: dict[str, Any]) -> dict[str, Any]:
    return jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]


def test_a_slice_is_a_job_and_a_host_a_pod(empty_cloud: Cloud) -> None:
    jobset = manifest(empty_cloud, "--num_slices=2")
    assert (jobset["apiVersion"], jobset["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    assert jobset["metadata"]["name"] == "im" and jobset["metadata"]["namespace"] == "default"
    (replicated,) = jobset["spec"]["replicatedJobs"]
    job = replicated["template"]["spec"]
    assert replicated["replicas"] == 2
    assert (job["parallelism"], job["completions"], job["backoffLimit"]) == (16, 16, 0)
    pod = pod_of(jobset)
    assert pod["restartPolicy"] == "Never" and pod["hostNetwork"] is True
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
        "cloud.google.com/gke-tpu-topology": "8x8",
    }
    assert pod["containers"][0]["resources"] == {"limits": {"google.com/tpu": 4}}
    assert not empty_cloud.calls()


@pytest.mark.parametrize(
    ("topology", "accelerator", "hosts", "chips"),
    [
        ("v4:2x2x4", "tpu-v4-podslice", 4, 4),
        ("v5e:2x4", "tpu-v5-lite-podslice", 1, 8),
        ("v5p:4x8x8", "tpu-v5p-slice", 64, 4),
        ("v6e:16x16", "tpu-v6e-slice", 64, 4),
        ("v6e:1x1", "tpu-v6e-slice", 1, 1),
        ("tpu7x:2x2x2", "tpu7x", 2, 4),
    ],
)
def test_every_generation_has_its_nodes(
    empty_cloud: Cloud, topology: str, accelerator: str, hosts: int, chips: int
) -> None:
    jobset = manifest(empty_cloud, f"--topology={topology}")
    pod = pod_of(jobset)
    assert pod["nodeSelector"]["cloud.google.com/gke-tpu-accelerator"] == accelerator
    assert jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["completions"] == hosts
    assert pod["containers"][0]["resources"]["limits"]["google.com/tpu"] == chips


def test_words_and_variables_arrive_as_they_are(empty_cloud: Cloud) -> None:
    container = pod_of(manifest(empty_cloud, '--env=A=1 $(B)\nB=$HOME:"x": # y'))["containers"][0]
    variables = {}
    for entry in container["env"]:  # Kubernetes fills in those that stand before
        variables[entry["name"]] = expanded(entry["value"], variables)
    assert variables == {"PYTHONUNBUFFERED": "1", "A": "1 $(B)", "B": '$HOME:"x": # y'}
    assert [expanded(word, variables) for word in container["command"]] == COMMAND[1:]


def decision(jobset: dict[str, Any], exit_code: int | None) -> str:
    """What JobSet does where a pod ends with a code, or is disrupted: by the rules of Kubernetes and of JobSet."""
    job = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]
    reason, message = "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    for at, rule in enumerate(job["podFailurePolicy"]["rules"]):
        codes = rule.get("onExitCodes")
        if codes is not None:
            assert (
                codes["operator"] == "In"
                and codes["containerName"] == pod_of(jobset)["containers"][0]["name"]
            )
            matches = exit_code in codes["values"]
        else:
            matches = (
                exit_code is None
                and {"type": "DisruptionTarget", "status": "True"} in rule["onPodConditions"]
            )
        if matches:
            reason = "PodFailurePolicy"
            message = f"Container run for pod default/im-slice-0-0 failed with exit code {exit_code} matching FailJob rule at index {at}"
            break
    for rule in jobset["spec"]["failurePolicy"]["rules"]:
        assert re.fullmatch(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", rule["name"])
        patterns = rule["onJobFailureMessagePatterns"]
        if reason in rule["onJobFailureReasons"] and any(re.search(pattern, message) for pattern in patterns):
            return rule["action"]
    return "RestartJobSet"


def test_exit_codes_decide_what_is_started_again(empty_cloud: Cloud) -> None:
    jobset = manifest(empty_cloud, "--max_failures=5")
    assert jobset["spec"]["failurePolicy"]["maxRestarts"] == 5
    assert decision(jobset, 2) == "FailJobSet"
    for code in (42, 43, None):
        assert decision(jobset, code) == "RestartJobSetAndIgnoreMaxRestarts"
    for code in (1, 134, 137, 143):
        assert decision(jobset, code) == "RestartJobSet"


def test_spot_nodes_and_queues_are_asked_for(empty_cloud: Cloud) -> None:
    jobset = manifest(empty_cloud, "--provisioning=spot", "--queue=team", "--namespace=ml", "--grace=25")
    pod = pod_of(jobset)
    assert jobset["metadata"]["labels"] == {"kueue.x-k8s.io/queue-name": "team"}
    assert pod["nodeSelector"]["cloud.google.com/gke-spot"] == "true"
    assert [toleration["key"] for toleration in pod["tolerations"]] == [
        "google.com/tpu",
        "cloud.google.com/gke-spot",
    ]
    assert pod["terminationGracePeriodSeconds"] == 25
    assert manifest(empty_cloud)["metadata"]["labels"] == {}


def test_it_is_applied_by_kubectl_and_a_refusal_is_passed_on(cloud: Cloud) -> None:
    cloud.run(SCRIPT, *GIVEN, "--context=gke_a b", *COMMAND)
    ((*words, given),) = cloud.calls()
    assert words == ["--context=gke_a b", "apply", "--filename=-"]
    assert yaml.safe_load(given["input"]) == manifest(cloud)
    (cloud.path / "refuse").touch()
    _, err = cloud.run(SCRIPT, *GIVEN, *COMMAND, code=1)
    assert err == "error: the server could not find the requested resource\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--name is missing: what the run is called"),
        (["--name=im"], "--image is missing: the container image, as in europe-docker.pkg.dev/PROJECT/REPOSITORY/im_jax"),
        ([*GIVEN, "--name=Im"], "--name=Im must be small letters, digits and hyphens, with a letter first, 49 at most"),
        ([*GIVEN, "--env=1A=b"], "--env=1A=b is not NAME=VALUE"),
        ([*GIVEN, "--topology=v5e:3x3"], "--topology=v5e:3x3: slices of v5e are 1x1 2x2 2x4 4x4 4x8 8x8 8x16 16x16"),
        ([*GIVEN, "--provisioning=cheap"], "--provisioning=cheap must be one of: on_demand spot"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(empty_cloud: Cloud, options: list[str], message: str) -> None:
    _, err = empty_cloud.run(SCRIPT, *options, *COMMAND, code=2)
    assert err == f"error: {message}\n"
