//! Everything that Railway is asked, held against its schema by somebody else's engine.

use std::collections::BTreeSet;
use std::path::Path;

use apollo_compiler::validation::Valid;
use apollo_compiler::{ExecutableDocument, Schema};
use outrigger::platform::railway::documents::{ALL, Document};

const SCHEMA: &str = include_str!("fixtures/railway/schema.graphql");

/// `Team.id` is deprecated though the interface's `id` is not, which the language forbids.
fn schema() -> Valid<Schema> {
    let (before, rest) = SCHEMA.split_once("\ntype Team implements Node {").expect("there is a type Team");
    let (id, after) = rest.split_once("\n  id: ID!").expect("it has an id");
    let (dropped, after) = after.split_once('\n').expect("its line ends");
    assert!(dropped.contains("@deprecated"), "there is nothing to be dropped any more: {dropped}");
    let text = format!("{before}\ntype Team implements Node {{{id}\n  id: ID!\n{after}");
    Schema::parse_and_validate(text, "schema.graphql").unwrap_or_else(|errors| panic!("{}", errors.errors))
}

fn validated(schema: &Valid<Schema>, text: &str) -> Result<Valid<ExecutableDocument>, String> {
    ExecutableDocument::parse_and_validate(schema, text, "document.graphql")
        .map_err(|errors| errors.errors.to_string())
}

#[test]
fn each_document_is_valid_by_the_schema() {
    let schema = schema();
    for Document { name, text } in ALL {
        validated(&schema, text).unwrap_or_else(|errors| panic!("{name}: {errors}"));
    }
    assert!(ALL.len() >= 13, "only {} documents were looked at", ALL.len());
}

#[test]
fn each_file_is_a_document() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/platform/railway/documents");
    let files = std::fs::read_dir(folder).unwrap();
    let files: BTreeSet<String> =
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    let documents: BTreeSet<String> = ALL.iter().map(|it| format!("{}.graphql", it.name)).collect();
    assert_eq!(files, documents);
}

#[test]
fn each_document_is_one_operation_and_a_mutation_asks_for_one_thing() {
    let schema = schema();
    let mut mutations = BTreeSet::new();
    for Document { name, text } in ALL {
        let document = validated(&schema, text).unwrap();
        let operations: Vec<_> = document.operations.iter().collect();
        let [operation] = operations.as_slice() else {
            panic!("{name} holds {} operations", operations.len())
        };
        if !operation.is_mutation() {
            continue;
        }
        let fields: Vec<_> = operation.root_fields(&document).collect();
        let [field] = fields.as_slice() else { panic!("{name} does {} things", fields.len()) };
        // What answers with a plain Boolean has no selection; what answers with an object must have one.
        let is_plain = field.definition.ty.to_string() == "Boolean!";
        assert_eq!(field.selection_set.is_empty(), is_plain, "{name}");
        mutations.insert(field.name.to_string());
    }
    let expected =
        ["deploymentCancel", "deploymentRedeploy", "deploymentRollback", "serviceInstanceAutoDeployUpdate"];
    assert_eq!(mutations, expected.map(str::to_owned).into());
}

#[test]
fn a_misspelt_field_and_a_selection_that_is_too_much_are_refused() {
    let schema = schema();
    let text = |name: &str| ALL.iter().find(|it| it.name == name).expect("there is such a document").text;
    let misspelt = text("history").replace("canRollback", "canRollBack");
    let errors = validated(&schema, &misspelt).unwrap_err();
    assert!(errors.contains("canRollBack"), "{errors}");
    // As Railway's own pages show it.
    let selected =
        text("roll_back").replace("deploymentRollback(id: $id)", "deploymentRollback(id: $id) { id status }");
    let errors = validated(&schema, &selected).unwrap_err();
    assert!(errors.contains("deploymentRollback"), "{errors}");
    let untyped = text("live").replace("$serviceId: String!", "$serviceId: Int!");
    assert!(validated(&schema, &untyped).is_err());
}
