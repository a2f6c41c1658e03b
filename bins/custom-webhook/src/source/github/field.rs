//! Which values of GitHub's payloads are written, and under which keys.
//!
//! Never the secret that was found, never a key, never the code: what names
//! the thing, who did it, and where to look.

/// A field of a line.
#[derive(Debug)]
pub(super) struct Field {
    /// Its name in the line.
    pub(super) key: &'static str,
    /// What of the value.
    pub(super) take: Take,
    /// Where it may be; the first place that has something counts.
    pub(super) paths: &'static [&'static str],
}

/// What is taken of a value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Take {
    /// As it is.
    Value,
    /// The names of an object's members, or a list's texts.
    Names,
    /// How long a list is.
    Count,
}

const fn value(key: &'static str, paths: &'static [&'static str]) -> Field {
    Field { key, take: Take::Value, paths }
}

const fn names(key: &'static str, paths: &'static [&'static str]) -> Field {
    Field { key, take: Take::Names, paths }
}

const fn count(key: &'static str, paths: &'static [&'static str]) -> Field {
    Field { key, take: Take::Count, paths }
}

/// Of each event, first. The action is the first of all.
const FIRST: &[Field] = &[
    value("action", &["action"]),
    value("repository", &["repository.full_name"]),
    value("organization", &["organization.login", "installation.account.login"]),
    value("enterprise", &["enterprise.slug"]),
    value("sender", &["sender.login"]),
    value("sender_type", &["sender.type"]),
];
/// Of each event, last.
const LAST: &[Field] = &[names("changed", &["changes"]), value("installation_id", &["installation.id"])];

const SECURITY_ADVISORY: &[Field] = &[
    value("severity", &["security_advisory.severity"]),
    value("summary", &["security_advisory.summary"]),
    value("cve_id", &["security_advisory.cve_id"]),
    value("ghsa_id", &["security_advisory.ghsa_id"]),
    value("package", &["security_advisory.vulnerabilities.0.package.name"]),
    value("ecosystem", &["security_advisory.vulnerabilities.0.package.ecosystem"]),
    value("vulnerable_versions", &["security_advisory.vulnerabilities.0.vulnerable_version_range"]),
    value("patched_version", &["security_advisory.vulnerabilities.0.first_patched_version.identifier"]),
    value("cvss_score", &["security_advisory.cvss.score"]),
    value("published_at", &["security_advisory.published_at"]),
    value("withdrawn_at", &["security_advisory.withdrawn_at"]),
];

const REPOSITORY_ADVISORY: &[Field] = &[
    value("severity", &["repository_advisory.severity"]),
    value("summary", &["repository_advisory.summary"]),
    value("cve_id", &["repository_advisory.cve_id"]),
    value("ghsa_id", &["repository_advisory.ghsa_id"]),
    value("package", &["repository_advisory.vulnerabilities.0.package.name"]),
    value("ecosystem", &["repository_advisory.vulnerabilities.0.package.ecosystem"]),
    value("state", &["repository_advisory.state"]),
    value("cvss_score", &["repository_advisory.cvss.score"]),
    value("author", &["repository_advisory.author.login"]),
    value("html_url", &["repository_advisory.html_url"]),
];

const DEPENDABOT_ALERT: &[Field] = &[
    value("severity", &["alert.security_advisory.severity", "alert.security_vulnerability.severity"]),
    value("summary", &["alert.security_advisory.summary"]),
    value("cve_id", &["alert.security_advisory.cve_id"]),
    value("ghsa_id", &["alert.security_advisory.ghsa_id"]),
    value("package", &["alert.dependency.package.name", "alert.security_vulnerability.package.name"]),
    value(
        "ecosystem",
        &["alert.dependency.package.ecosystem", "alert.security_vulnerability.package.ecosystem"],
    ),
    value("manifest_path", &["alert.dependency.manifest_path"]),
    value("scope", &["alert.dependency.scope"]),
    value("vulnerable_versions", &["alert.security_vulnerability.vulnerable_version_range"]),
    value("patched_version", &["alert.security_vulnerability.first_patched_version.identifier"]),
    value("cvss_score", &["alert.security_advisory.cvss.score"]),
    value("number", &["alert.number"]),
    value("state", &["alert.state"]),
    value("dismissed_by", &["alert.dismissed_by.login"]),
    value("dismissed_reason", &["alert.dismissed_reason"]),
    value("html_url", &["alert.html_url"]),
];

/// Under its former name and in its former shape.
const VULNERABILITY_ALERT: &[Field] = &[
    value("severity", &["alert.severity"]),
    value("cve_id", &["alert.external_identifier"]),
    value("ghsa_id", &["alert.ghsa_id"]),
    value("package", &["alert.affected_package_name"]),
    value("vulnerable_versions", &["alert.affected_range"]),
    value("patched_version", &["alert.fixed_in"]),
    value("number", &["alert.number"]),
    value("state", &["alert.state"]),
    value("dismissed_by", &["alert.dismisser.login"]),
    value("dismissed_reason", &["alert.dismiss_reason"]),
    value("html_url", &["alert.external_reference"]),
];

const SECRET_ALERT: &[Field] = &[
    value("secret_type", &["alert.secret_type"]),
    value("secret_type_name", &["alert.secret_type_display_name"]),
    value("number", &["alert.number"]),
    value("state", &["alert.state"]),
    value("validity", &["alert.validity"]),
    value("publicly_leaked", &["alert.publicly_leaked"]),
    value("multi_repo", &["alert.multi_repo"]),
    value("resolution", &["alert.resolution"]),
    value("resolved_by", &["alert.resolved_by.login"]),
    value("push_protection_bypassed", &["alert.push_protection_bypassed"]),
    value("push_protection_bypassed_by", &["alert.push_protection_bypassed_by.login"]),
    value("location_type", &["location.type"]),
    value("path", &["location.details.path"]),
    value("start_line", &["location.details.start_line"]),
    value("commit", &["location.details.commit_sha"]),
    value("html_url", &["alert.html_url"]),
];

const SECRET_SCAN: &[Field] = &[
    value("scan_type", &["type"]),
    value("scan_source", &["source"]),
    names("secret_types", &["secret_types"]),
    value("started_at", &["started_at"]),
    value("completed_at", &["completed_at"]),
];

const CODE_ALERT: &[Field] = &[
    value("severity", &["alert.rule.security_severity_level", "alert.rule.severity"]),
    value("summary", &["alert.rule.description"]),
    value("rule_id", &["alert.rule.id"]),
    value("tool", &["alert.tool.name"]),
    value("number", &["alert.number"]),
    value("state", &["alert.state", "alert.most_recent_instance.state", "alert.instances.0.state"]),
    value("ref", &["ref", "alert.most_recent_instance.ref", "alert.instances.0.ref"]),
    value("commit", &["commit_oid", "alert.most_recent_instance.commit_sha"]),
    value("path", &["alert.most_recent_instance.location.path"]),
    value("start_line", &["alert.most_recent_instance.location.start_line"]),
    value("dismissed_by", &["alert.dismissed_by.login"]),
    value("dismissed_reason", &["alert.dismissed_reason"]),
    value("html_url", &["alert.html_url"]),
];

const SECURITY_AND_ANALYSIS: &[Field] = &[
    value("advanced_security", &["repository.security_and_analysis.advanced_security.status"]),
    value("advanced_security_from", &["changes.from.security_and_analysis.advanced_security.status"]),
    value("secret_scanning", &["repository.security_and_analysis.secret_scanning.status"]),
    value("secret_scanning_from", &["changes.from.security_and_analysis.secret_scanning.status"]),
    value("push_protection", &["repository.security_and_analysis.secret_scanning_push_protection.status"]),
    value(
        "push_protection_from",
        &["changes.from.security_and_analysis.secret_scanning_push_protection.status"],
    ),
    value("dependabot_updates", &["repository.security_and_analysis.dependabot_security_updates.status"]),
    value(
        "dependabot_updates_from",
        &["changes.from.security_and_analysis.dependabot_security_updates.status"],
    ),
];

const BRANCH_PROTECTION: &[Field] = &[
    value("branch", &["rule.name"]),
    value("admin_enforced", &["rule.admin_enforced"]),
    value("allow_force_pushes", &["rule.allow_force_pushes_enforcement_level"]),
    value("allow_deletions", &["rule.allow_deletions_enforcement_level"]),
    value("required_reviews", &["rule.required_approving_review_count"]),
    value("pull_request_reviews", &["rule.pull_request_reviews_enforcement_level"]),
    value("status_checks", &["rule.required_status_checks_enforcement_level"]),
    value("signatures", &["rule.signature_requirement_enforcement_level"]),
];

const RULESET: &[Field] = &[
    value("ruleset", &["repository_ruleset.name"]),
    value("ruleset_id", &["repository_ruleset.id"]),
    value("ruleset_target", &["repository_ruleset.target"]),
    value("ruleset_source", &["repository_ruleset.source"]),
    value("enforcement", &["repository_ruleset.enforcement"]),
    value("enforcement_from", &["changes.enforcement.from"]),
];

const MEMBER: &[Field] = &[
    value("member", &["member.login"]),
    value("role", &["changes.role_name.to", "changes.permission.to"]),
    value("role_from", &["changes.role_name.from", "changes.permission.from", "changes.old_permission.from"]),
    value("team", &["team.name"]),
    value("team_permission", &["team.permission"]),
];

const ORGANIZATION: &[Field] = &[
    value("member", &["membership.user.login", "invitation.login", "user.login", "blocked_user.login"]),
    value("role", &["membership.role", "invitation.role"]),
    value("member_state", &["membership.state"]),
    value("email", &["invitation.email"]),
    value("login_from", &["changes.login.from"]),
];

const TEAM: &[Field] = &[
    value("team", &["team.name"]),
    value("team_permission", &["team.permission"]),
    value("team_privacy", &["team.privacy"]),
    value("team_role", &["repository.role_name"]),
    value("may_administer", &["repository.permissions.admin"]),
    value("may_push", &["repository.permissions.push"]),
    value("may_push_from", &["changes.repository.permissions.from.push"]),
    value("may_administer_from", &["changes.repository.permissions.from.admin"]),
];

const DEPLOY_KEY: &[Field] = &[
    value("key_title", &["key.title"]),
    value("key_id", &["key.id"]),
    value("read_only", &["key.read_only"]),
    value("added_by", &["key.added_by"]),
];

const REPOSITORY: &[Field] = &[
    value("visibility", &["repository.visibility"]),
    value("private", &["repository.private"]),
    value("archived", &["repository.archived"]),
    value("name_from", &["changes.repository.name.from"]),
    value("owner_from", &["changes.owner.from.user.login", "changes.owner.from.organization.login"]),
    value("default_branch", &["repository.default_branch"]),
    value("default_branch_from", &["changes.default_branch.from"]),
    value("html_url", &["repository.html_url"]),
];

const PUSH: &[Field] = &[
    value("ref", &["ref"]),
    value("ref_type", &["ref_type"]),
    value("forced", &["forced"]),
    value("created", &["created"]),
    value("deleted", &["deleted"]),
    value("before", &["before"]),
    value("after", &["after"]),
    value("pusher", &["pusher.name"]),
    count("commits", &["commits"]),
    value("summary", &["head_commit.message"]),
    value("html_url", &["compare"]),
];

const INSTALLATION: &[Field] = &[
    value("app", &["installation.app_slug"]),
    value("app_id", &["installation.app_id"]),
    value("account_type", &["installation.target_type"]),
    value("repository_selection", &["repository_selection", "installation.repository_selection"]),
    value("permissions", &["installation.permissions"]),
    count("repositories_added", &["repositories_added", "repositories"]),
    count("repositories_removed", &["repositories_removed"]),
    value("requester", &["requester.login"]),
];

const TOKEN_REQUEST: &[Field] = &[
    value("member", &["personal_access_token_request.owner.login"]),
    value("number", &["personal_access_token_request.id"]),
    value("token_name", &["personal_access_token_request.token_name"]),
    value("token_id", &["personal_access_token_request.token_id"]),
    value("token_expires_at", &["personal_access_token_request.token_expires_at"]),
    value("repository_selection", &["personal_access_token_request.repository_selection"]),
    value("permissions", &["personal_access_token_request.permissions_result"]),
    value("permissions_added", &["personal_access_token_request.permissions_added"]),
];

const HOOK: &[Field] = &[
    value("hook_id", &["hook_id"]),
    value("hook_type", &["hook.type"]),
    value("hook_active", &["hook.active"]),
    names("hook_events", &["hook.events"]),
    value("content_type", &["hook.config.content_type"]),
    value("insecure_ssl", &["hook.config.insecure_ssl"]),
];

const EXEMPTION: &[Field] = &[
    value("number", &["exemption_request.number", "bypass_request.number"]),
    value("state", &["exemption_request.status", "bypass_request.status"]),
    value("requester", &["exemption_request.requester_login", "bypass_request.requester_login"]),
    value("request_type", &["exemption_request.request_type", "bypass_request.request_type"]),
    value("reason", &["exemption_request.requester_comment", "bypass_request.requester_comment"]),
    value("reviewer", &["exemption_response.reviewer_login"]),
    value("html_url", &["exemption_request.html_url", "bypass_request.html_url"]),
];

const WORKFLOW: &[Field] = &[
    value("workflow", &["workflow_run.name", "workflow.name", "workflow_job.workflow_name"]),
    value("job", &["workflow_job.name"]),
    value("conclusion", &["workflow_run.conclusion", "workflow_job.conclusion"]),
    value("branch", &["workflow_run.head_branch", "workflow_job.head_branch"]),
    value("trigger", &["workflow_run.event"]),
    value("number", &["workflow_run.run_number"]),
    value("runner", &["workflow_job.runner_name"]),
    value("html_url", &["workflow_run.html_url", "workflow_job.html_url"]),
];

/// Of what nobody has thought of.
const OTHER: &[Field] = &[
    value("number", &["number", "issue.number", "pull_request.number", "discussion.number", "alert.number"]),
    value("state", &["state", "issue.state", "pull_request.state", "deployment_status.state"]),
    value(
        "summary",
        &[
            "issue.title",
            "pull_request.title",
            "discussion.title",
            "release.name",
            "label.name",
            "milestone.title",
        ],
    ),
    value("ref", &["ref", "pull_request.head.ref", "deployment.ref", "release.tag_name"]),
    value("member", &["member.login", "blocked_user.login", "assignee.login", "user.login"]),
    value(
        "html_url",
        &[
            "comment.html_url",
            "review.html_url",
            "issue.html_url",
            "pull_request.html_url",
            "discussion.html_url",
            "release.html_url",
            "check_run.html_url",
            "forkee.html_url",
            "package.html_url",
        ],
    ),
];

/// The events of which we know what to take.
pub(super) const EVENTS: &[&str] = &[
    "security_advisory",
    "repository_advisory",
    "dependabot_alert",
    "repository_vulnerability_alert",
    "secret_scanning_alert",
    "secret_scanning_alert_location",
    "secret_scanning_scan",
    "code_scanning_alert",
    "security_and_analysis",
    "branch_protection_rule",
    "branch_protection_configuration",
    "repository_ruleset",
    "member",
    "membership",
    "organization",
    "org_block",
    "team",
    "team_add",
    "deploy_key",
    "public",
    "repository",
    "push",
    "create",
    "delete",
    "installation",
    "installation_repositories",
    "installation_target",
    "personal_access_token_request",
    "meta",
    "ping",
    "bypass_request_push_ruleset",
    "bypass_request_secret_scanning",
    "exemption_request_push_ruleset",
    "exemption_request_secret_scanning",
    "workflow_run",
    "workflow_job",
    "workflow_dispatch",
];

/// The other events of docs.github.com, "Webhook events and payloads", 2026.
const OTHERS: &[&str] = &[
    "check_run",
    "check_suite",
    "commit_comment",
    "custom_property",
    "custom_property_promoted_to_enterprise",
    "custom_property_values",
    "deployment",
    "deployment_protection_rule",
    "deployment_review",
    "deployment_status",
    "discussion",
    "discussion_comment",
    "dismissal_request_code_scanning",
    "dismissal_request_dependabot",
    "dismissal_request_secret_scanning",
    "fork",
    "github_app_authorization",
    "gollum",
    "issue_comment",
    "issue_dependencies",
    "issues",
    "label",
    "marketplace_purchase",
    "merge_group",
    "milestone",
    "package",
    "page_build",
    "project",
    "project_card",
    "project_column",
    "projects_v2",
    "projects_v2_item",
    "projects_v2_status_update",
    "pull_request",
    "pull_request_review",
    "pull_request_review_comment",
    "pull_request_review_thread",
    "registry_package",
    "release",
    "repository_dispatch",
    "repository_import",
    "sponsorship",
    "star",
    "status",
    "sub_issues",
    "watch",
];

/// Whether GitHub was known to have an event of this name when this was written.
pub(super) fn is_known(event: &str) -> bool {
    EVENTS.contains(&event) || OTHERS.contains(&event)
}

fn own(event: &str) -> &'static [Field] {
    match event {
        "security_advisory" => SECURITY_ADVISORY,
        "repository_advisory" => REPOSITORY_ADVISORY,
        "dependabot_alert" => DEPENDABOT_ALERT,
        "repository_vulnerability_alert" => VULNERABILITY_ALERT,
        "secret_scanning_alert" | "secret_scanning_alert_location" => SECRET_ALERT,
        "secret_scanning_scan" => SECRET_SCAN,
        "code_scanning_alert" => CODE_ALERT,
        "security_and_analysis" => SECURITY_AND_ANALYSIS,
        "branch_protection_rule" => BRANCH_PROTECTION,
        "branch_protection_configuration" => &[],
        "repository_ruleset" => RULESET,
        "member" | "membership" => MEMBER,
        "organization" | "org_block" => ORGANIZATION,
        "team" | "team_add" => TEAM,
        "deploy_key" => DEPLOY_KEY,
        "public" | "repository" => REPOSITORY,
        "push" | "create" | "delete" => PUSH,
        "installation" | "installation_repositories" | "installation_target" => INSTALLATION,
        "personal_access_token_request" => TOKEN_REQUEST,
        "meta" | "ping" => HOOK,
        "workflow_run" | "workflow_job" | "workflow_dispatch" => WORKFLOW,
        _ if event.starts_with("bypass_request_") || event.starts_with("exemption_request_") => EXEMPTION,
        _ => OTHER,
    }
}

/// The fields of an event's line, in order.
pub(super) fn of(event: &str) -> impl Iterator<Item = &'static Field> {
    FIRST.iter().chain(own(event)).chain(LAST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Picker;

    #[test]
    fn no_line_has_a_key_twice_or_a_path_that_is_none() {
        for event in EVENTS.iter().chain(&["", "issues"]) {
            let mut keys: Vec<&str> = of(event).map(|field| field.key).collect();
            assert_eq!(keys[0], "action");
            keys.extend(["delivery", "toolkit", "source", "event", "received_at"]);
            keys.sort_unstable();
            let before = keys.len();
            keys.dedup();
            assert_eq!(keys.len(), before, "{event}");
            Picker::new(of(event).flat_map(|field| field.paths.iter().copied())).unwrap();
        }
    }
}
