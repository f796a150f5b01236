//! Who does what: the roles that tasks name, with the skills each has.
//!
//! One table for the five agents and the six roles of the requirements (S0-25, S3-4 to S3-9); the
//! four of S4-1 are names for groups of them. A role says what kind of work a task is, for people
//! and for choosing a tier; it is no process.

/// A kind of worker's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Role {
    pub id: &'static str,
    pub name: &'static str,
    /// Of the six skills of S1-20.
    pub skills: &'static [Skill],
    /// The group of S4-1 that it belongs to.
    pub group: Group,
}

/// What a role can do (S1-20).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Skill {
    ArchitectureDesign,
    DatabaseDesign,
    ApiDesign,
    SecurityArchitecture,
    CodeGeneration,
    Deployment,
}

/// The four agents of S4-1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Group {
    Frontend,
    Backend,
    Reviewer,
    Devops,
}

const fn role(
    id: &'static str,
    name: &'static str,
    group: Group,
    skills: &'static [Skill],
) -> Role {
    Role { id, name, skills, group }
}

/// Every role there is.
pub const ROLES: &[Role] = {
    use Skill::*;
    &[
        role("arch-001", "Architecture Designer", Group::Backend, &[ArchitectureDesign]),
        role("db-001", "Database Designer", Group::Backend, &[DatabaseDesign]),
        role("api-001", "API Designer", Group::Backend, &[ApiDesign, CodeGeneration]),
        role("sec-001", "Security Architect", Group::Reviewer, &[SecurityArchitecture]),
        role("code-001", "Code Generator", Group::Backend, &[CodeGeneration]),
        role("orchestrator", "Orchestrator", Group::Devops, &[]),
        role("planner", "Planner", Group::Backend, &[ArchitectureDesign]),
        role("coder", "Coder", Group::Frontend, &[CodeGeneration]),
        role("critic", "Critic", Group::Reviewer, &[SecurityArchitecture, CodeGeneration]),
        role("file-manager", "File Manager", Group::Devops, &[Deployment]),
        role("qa-validator", "QA Validator", Group::Reviewer, &[CodeGeneration]),
    ]
};

/// The role of this id.
pub fn find(id: &str) -> Option<&'static Role> {
    ROLES.iter().find(|role| role.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{
        self,
        spec::{Spec, Stack},
    };

    #[test]
    fn every_part_of_every_stack_names_a_role_that_exists() {
        let mut spec: Spec =
            serde_json::from_str(include_str!("../../tests/specs/library.json")).unwrap();
        for stack in [Stack::Fastapi, Stack::Express, Stack::PythonCli] {
            spec.stack = stack;
            for part in generate::parts(&spec) {
                assert!(find(part.role).is_some(), "{}: {}", part.key, part.role);
            }
        }
    }

    #[test]
    fn no_two_roles_share_an_id() {
        for (index, role) in ROLES.iter().enumerate() {
            assert!(ROLES[..index].iter().all(|other| other.id != role.id), "{}", role.id);
        }
    }
}
