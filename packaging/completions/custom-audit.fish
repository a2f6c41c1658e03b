# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_custom_audit_global_optspecs
    string join \n wodle full watch= output= max-events= process-key= geo-peer table check-config home= state-dir= config= h/help V/version
end

function __fish_custom_audit_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_custom_audit_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_custom_audit_using_subcommand
    set -l cmd (__fish_custom_audit_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c custom-audit -n "__fish_custom_audit_needs_command" -l watch -d 'Look again and again for so long, as 50 (seconds) or 5m' -r
complete -c custom-audit -n "__fish_custom_audit_needs_command" -l output -d 'Append the lines to this file instead of printing them' -r -F
complete -c custom-audit -n "__fish_custom_audit_needs_command" -l max-events -d 'The most events of one run; 0 is no limit [default: 500]' -r
complete -c custom-audit -n "__fish_custom_audit_needs_command" -l process-key -d 'Write `process` as an object with a name, or as a string [default: object]' -r -f -a "object\t'`{"name":"sshd"}`, as Wazuh\'s index template wants it'
string\t'`"sshd"`, which Wazuh\'s own indexer drops'"
complete -c custom-audit -n "__fish_custom_audit_needs_command" -l home -d 'Where Wazuh is installed [env: WAZUH_HOME; default: /var/ossec]' -r -F
complete -c custom-audit -n "__fish_custom_audit_needs_command" -l state-dir -d 'Where state is kept, a folder for each program [env: WAZUH_TOOLKIT_STATE_DIR; default: /var/lib/wazuh-toolkit]' -r -F
complete -c custom-audit -n "__fish_custom_audit_needs_command" -l config -d 'The configuration [env: WAZUH_TOOLKIT_CONFIG_DIR names its folder; default: /etc/wazuh-toolkit/custom-audit.toml]' -r -F
complete -c custom-audit -n "__fish_custom_audit_needs_command" -l wodle -d 'Called by the wodle. Changes nothing; a wodle with verify_sha256 needs some argument'
complete -c custom-audit -n "__fish_custom_audit_needs_command" -l full -d 'Say everything that is there, and keep no state'
complete -c custom-audit -n "__fish_custom_audit_needs_command" -l geo-peer -d 'Put the other end of each connection into srcip'
complete -c custom-audit -n "__fish_custom_audit_needs_command" -l table -d 'Print everything that is there as a table, for people'
complete -c custom-audit -n "__fish_custom_audit_needs_command" -l check-config -d 'Check the configuration and say what is wrong with it (exit code 78)'
complete -c custom-audit -n "__fish_custom_audit_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c custom-audit -n "__fish_custom_audit_needs_command" -s V -l version -d 'Print version'
complete -c custom-audit -n "__fish_custom_audit_needs_command" -f -a "doctor" -d 'Look for everything that could keep events from coming (exit code 1: something was found)'
complete -c custom-audit -n "__fish_custom_audit_needs_command" -f -a "explain" -d 'Tell what a key of an event means, and its values'
complete -c custom-audit -n "__fish_custom_audit_using_subcommand doctor" -l home -d 'Where Wazuh is installed [env: WAZUH_HOME; default: /var/ossec]' -r -F
complete -c custom-audit -n "__fish_custom_audit_using_subcommand doctor" -l state-dir -d 'Where state is kept, a folder for each program [env: WAZUH_TOOLKIT_STATE_DIR; default: /var/lib/wazuh-toolkit]' -r -F
complete -c custom-audit -n "__fish_custom_audit_using_subcommand doctor" -l config -d 'The configuration [env: WAZUH_TOOLKIT_CONFIG_DIR names its folder; default: /etc/wazuh-toolkit/custom-audit.toml]' -r -F
complete -c custom-audit -n "__fish_custom_audit_using_subcommand doctor" -l json -d 'One JSON object instead of text'
complete -c custom-audit -n "__fish_custom_audit_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c custom-audit -n "__fish_custom_audit_using_subcommand explain" -l home -d 'Where Wazuh is installed [env: WAZUH_HOME; default: /var/ossec]' -r -F
complete -c custom-audit -n "__fish_custom_audit_using_subcommand explain" -l state-dir -d 'Where state is kept, a folder for each program [env: WAZUH_TOOLKIT_STATE_DIR; default: /var/lib/wazuh-toolkit]' -r -F
complete -c custom-audit -n "__fish_custom_audit_using_subcommand explain" -l config -d 'The configuration [env: WAZUH_TOOLKIT_CONFIG_DIR names its folder; default: /etc/wazuh-toolkit/custom-audit.toml]' -r -F
complete -c custom-audit -n "__fish_custom_audit_using_subcommand explain" -s h -l help -d 'Print help'
