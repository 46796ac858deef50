//! A service that is added by the command has everything that the others have.

use std::fs;
use std::path::Path;

use charts::scaffold::{self, NewService};
use charts::{STEPS, chart, helm, render, root, services};

use crate::promtool;

/// Copies the files of the repository, without those of builds and of Git.
fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = (entry.as_ref().unwrap().path(), entry.unwrap().file_name());
        let target = to.join(&name);
        if path.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&path).unwrap(), target).unwrap();
        } else if path.is_dir() {
            if name != "target" && name != ".git" && name != "data" {
                fs::create_dir(&target).unwrap();
                copy(&path, &target);
            }
        } else {
            fs::copy(&path, target).unwrap();
        }
    }
}

fn hello() -> NewService {
    NewService { name: "hello-again".to_owned(), port: 8123, description: "Says hello again.".to_owned() }
}

#[test]
fn it_is_listed_everywhere_and_helm_accepts_it() {
    let folder = tempfile::tempdir().unwrap();
    let copied = folder.path();
    copy(root(), copied);
    scaffold::add(copied, &hello()).unwrap();
    let changed = render(copied).unwrap();
    for path in [
        "README.md",
        "charts/worker-system/Chart.yaml",
        "charts/worker-system/charts/hello-again/Chart.yaml",
        "charts/worker-system/charts/hello-again/values.schema.json",
        "charts/worker-system/values.schema.json",
        "charts/worker-system/values.yaml",
        "ci/lib/services.sh",
        "docker/compose.yaml",
        "docker/docker-bake.hcl",
        "docs/kubernetes.md",
        "k8s/40-hello-again.yaml",
        "services/hello-again/Dockerfile",
    ] {
        assert!(changed.iter().any(|file| file == Path::new(path)), "{path} is not among {changed:?}");
        let names_it =
            path.contains("hello-again") || fs::read_to_string(copied.join(path)).unwrap().contains("hello-again");
        assert!(names_it, "{path}");
    }
    assert_eq!(changed.len(), 12, "{changed:?}");
    for step in STEPS {
        for file in step(copied).unwrap() {
            assert_eq!(fs::read_to_string(copied.join(&file.path)).unwrap(), file.text);
        }
    }
    let subchart = chart::subchart(copied, "hello-again");
    helm::lint(&chart::umbrella(copied), &[]).unwrap().unwrap();
    helm::lint(&subchart, &[]).unwrap().unwrap();
    let monitored = ["--set", "metrics.rules.enabled=true,metrics.dashboard.enabled=true"];
    let rendered = helm::template(&subchart, &monitored).unwrap().unwrap();
    for kind in ["Deployment", "Service", "Ingress", "PrometheusRule", "ConfigMap", "Pod"] {
        assert!(rendered.contains(&format!("kind: {kind}\n")), "{kind}");
    }
    promtool::test_rules(&subchart.join("rules-test.yaml")).unwrap().unwrap();
    // A name, a port and a folder belong to one service.
    let refusal = scaffold::add(copied, &hello()).unwrap_err().to_string();
    assert_eq!(refusal, "port 8123 belongs to hello-again");
    let refusal = scaffold::add(copied, &NewService { port: 8124, ..hello() }).unwrap_err().to_string();
    assert!(refusal.ends_with("services/hello-again is there already"), "{refusal}");
}

/// Each mistake in a service's entry is refused with the file to change.
#[test]
fn a_wrong_entry_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let copied = folder.path();
    copy(root(), copied);
    scaffold::add(copied, &hello()).unwrap();
    let manifest = copied.join("services/hello-again/Cargo.toml");
    let right = fs::read_to_string(&manifest).unwrap();
    for (from, to, refusal) in [
        ("composed = false", "composed = true", "services/worker-system/Cargo.toml does not depend on hello-again"),
        ("ports = [8123]", "ports = [8001]", "belongs to"),
        ("ports = [8123]", "ports = [1, 2]", "at most one port"),
        ("ports = [8123]", "mysql = \"x\"", "charts/worker-system/values.yaml has no global.mysql.databases.x"),
        ("ports = [8123]", "rabbitmq = \"x\"", "charts/worker-system/values.yaml has no global.rabbitmq.users.x"),
        ("ports = [8123]", "calls = [\"x\"]", "no service with a subchart and a port has that name"),
        (
            "ports = [8123]",
            "ports = [8123]\nroles = { a = \"hello-a\" }",
            "a service with roles has neither ports nor replicas",
        ),
        (
            "composed = false",
            "composed = false\nimage = { volume = \"/data\" }\ncompose = { replicas = 2 }",
            "a service with a volume has no replicas",
        ),
        ("ports = [8123]", "port = 8123", "[package.metadata.service]"),
        ("[package.metadata.service]", "[package.metadata.servant]", "every package in services/ has a table"),
    ] {
        assert!(right.contains(from));
        fs::write(&manifest, right.replace(from, to)).unwrap();
        let error = format!("{:#}", services::read(copied).unwrap_err());
        assert!(error.contains(refusal), "{to}: {error}");
    }
    fs::write(&manifest, &right).unwrap();
    fs::remove_dir_all(chart::subchart(copied, "hello-again")).unwrap();
    let error = services::read(copied).unwrap_err().to_string();
    assert!(error.starts_with("hello-again has no subchart"), "{error}");
}
