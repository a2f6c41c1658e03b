# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_wazuh_toolkit_global_optspecs
    string join \n home= state-dir= json h/help V/version
end

function __fish_wazuh_toolkit_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_wazuh_toolkit_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_wazuh_toolkit_using_subcommand
    set -l cmd (__fish_wazuh_toolkit_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_needs_command" -l home -d 'Where Wazuh is installed [env: WAZUH_HOME; default: /var/ossec]' -r -F
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_needs_command" -l state-dir -d 'Where state is kept, a folder for each program [env: WAZUH_TOOLKIT_STATE_DIR; default: /var/lib/wazuh-toolkit]' -r -F
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_needs_command" -l json -d 'One JSON object instead of text'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_needs_command" -s V -l version -d 'Print version'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_needs_command" -f -a "enable" -d 'Write a program\'s section into ossec.conf'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_needs_command" -f -a "disable" -d 'Take a program\'s section out of ossec.conf'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_needs_command" -f -a "status" -d 'Show what is installed, linked and enabled'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_needs_command" -f -a "doctor" -d 'Look for everything that could keep the toolkit from working (exit code 1: something was found)'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_needs_command" -f -a "link" -d 'Link the programs into Wazuh\'s tree, as far as they are not'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_needs_command" -f -a "selftest" -d 'Let the installed programs do their work once, without an effect'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_needs_command" -f -a "rules" -d 'The detection rules, on a manager'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand enable" -l role -d 'What this host is [default: what is installed]' -r -f -a "agent\t'A protected host'
manager\t'The server that the agents report to'"
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand enable" -l check-timeout -d 'How long each of Wazuh\'s daemons may check the configuration' -r
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand enable" -l home -d 'Where Wazuh is installed [env: WAZUH_HOME; default: /var/ossec]' -r -F
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand enable" -l state-dir -d 'Where state is kept, a folder for each program [env: WAZUH_TOOLKIT_STATE_DIR; default: /var/lib/wazuh-toolkit]' -r -F
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand enable" -l print -d 'Print the section instead of writing it'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand enable" -l dry-run -d 'Show what would be changed, and change nothing'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand enable" -l restart -d 'Restart Wazuh when something was changed'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand enable" -l force -d 'Replace or remove also what was edited by hand'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand enable" -l json -d 'One JSON object instead of text'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand enable" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand disable" -l check-timeout -d 'How long each of Wazuh\'s daemons may check the configuration' -r
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand disable" -l home -d 'Where Wazuh is installed [env: WAZUH_HOME; default: /var/ossec]' -r -F
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand disable" -l state-dir -d 'Where state is kept, a folder for each program [env: WAZUH_TOOLKIT_STATE_DIR; default: /var/lib/wazuh-toolkit]' -r -F
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand disable" -l all -d 'All of them'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand disable" -l dry-run -d 'Show what would be changed, and change nothing'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand disable" -l restart -d 'Restart Wazuh when something was changed'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand disable" -l force -d 'Replace or remove also what was edited by hand'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand disable" -l json -d 'One JSON object instead of text'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand disable" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand status" -l home -d 'Where Wazuh is installed [env: WAZUH_HOME; default: /var/ossec]' -r -F
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand status" -l state-dir -d 'Where state is kept, a folder for each program [env: WAZUH_TOOLKIT_STATE_DIR; default: /var/lib/wazuh-toolkit]' -r -F
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand status" -l json -d 'One JSON object instead of text'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand status" -s h -l help -d 'Print help'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand doctor" -l home -d 'Where Wazuh is installed [env: WAZUH_HOME; default: /var/ossec]' -r -F
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand doctor" -l state-dir -d 'Where state is kept, a folder for each program [env: WAZUH_TOOLKIT_STATE_DIR; default: /var/lib/wazuh-toolkit]' -r -F
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand doctor" -l json -d 'One JSON object instead of text'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand link" -l replace -d 'Put custom-block in the place of one of Wazuh\'s own programs' -r
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand link" -l restore -d 'Put Wazuh\'s own program back' -r
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand link" -l home -d 'Where Wazuh is installed [env: WAZUH_HOME; default: /var/ossec]' -r -F
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand link" -l state-dir -d 'Where state is kept, a folder for each program [env: WAZUH_TOOLKIT_STATE_DIR; default: /var/lib/wazuh-toolkit]' -r -F
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand link" -l remove -d 'Take all links away, and put Wazuh\'s own programs back'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand link" -l quiet -d 'Say only what is wrong, and do not fail because of it (for packages)'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand link" -l json -d 'One JSON object instead of text'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand link" -s h -l help -d 'Print help'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand selftest" -l home -d 'Where Wazuh is installed [env: WAZUH_HOME; default: /var/ossec]' -r -F
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand selftest" -l state-dir -d 'Where state is kept, a folder for each program [env: WAZUH_TOOLKIT_STATE_DIR; default: /var/lib/wazuh-toolkit]' -r -F
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand selftest" -l json -d 'One JSON object instead of text'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand selftest" -s h -l help -d 'Print help'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand rules; and not __fish_seen_subcommand_from install remove check" -l home -d 'Where Wazuh is installed [env: WAZUH_HOME; default: /var/ossec]' -r -F
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand rules; and not __fish_seen_subcommand_from install remove check" -l state-dir -d 'Where state is kept, a folder for each program [env: WAZUH_TOOLKIT_STATE_DIR; default: /var/lib/wazuh-toolkit]' -r -F
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand rules; and not __fish_seen_subcommand_from install remove check" -l json -d 'One JSON object instead of text'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand rules; and not __fish_seen_subcommand_from install remove check" -s h -l help -d 'Print help'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand rules; and not __fish_seen_subcommand_from install remove check" -f -a "install" -d 'Copy rules and lists to the manager, and declare the lists'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand rules; and not __fish_seen_subcommand_from install remove check" -f -a "remove" -d 'Take them away'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand rules; and not __fish_seen_subcommand_from install remove check" -f -a "check" -d 'Compare them with the installed ones, and look for other rules with their ids (exit code 1: something was found)'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand rules; and __fish_seen_subcommand_from install" -l check-timeout -d 'How long each of Wazuh\'s daemons may check the configuration' -r
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand rules; and __fish_seen_subcommand_from install" -l home -d 'Where Wazuh is installed [env: WAZUH_HOME; default: /var/ossec]' -r -F
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand rules; and __fish_seen_subcommand_from install" -l state-dir -d 'Where state is kept, a folder for each program [env: WAZUH_TOOLKIT_STATE_DIR; default: /var/lib/wazuh-toolkit]' -r -F
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand rules; and __fish_seen_subcommand_from install" -l dry-run -d 'Show what would be changed, and change nothing'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand rules; and __fish_seen_subcommand_from install" -l restart -d 'Restart Wazuh when something was changed'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand rules; and __fish_seen_subcommand_from install" -l force -d 'Replace or remove also what was edited by hand'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand rules; and __fish_seen_subcommand_from install" -l json -d 'One JSON object instead of text'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand rules; and __fish_seen_subcommand_from install" -s h -l help -d 'Print help'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand rules; and __fish_seen_subcommand_from remove" -l check-timeout -d 'How long each of Wazuh\'s daemons may check the configuration' -r
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand rules; and __fish_seen_subcommand_from remove" -l home -d 'Where Wazuh is installed [env: WAZUH_HOME; default: /var/ossec]' -r -F
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand rules; and __fish_seen_subcommand_from remove" -l state-dir -d 'Where state is kept, a folder for each program [env: WAZUH_TOOLKIT_STATE_DIR; default: /var/lib/wazuh-toolkit]' -r -F
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand rules; and __fish_seen_subcommand_from remove" -l dry-run -d 'Show what would be changed, and change nothing'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand rules; and __fish_seen_subcommand_from remove" -l restart -d 'Restart Wazuh when something was changed'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand rules; and __fish_seen_subcommand_from remove" -l force -d 'Replace or remove also what was edited by hand'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand rules; and __fish_seen_subcommand_from remove" -l json -d 'One JSON object instead of text'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand rules; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand rules; and __fish_seen_subcommand_from check" -l home -d 'Where Wazuh is installed [env: WAZUH_HOME; default: /var/ossec]' -r -F
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand rules; and __fish_seen_subcommand_from check" -l state-dir -d 'Where state is kept, a folder for each program [env: WAZUH_TOOLKIT_STATE_DIR; default: /var/lib/wazuh-toolkit]' -r -F
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand rules; and __fish_seen_subcommand_from check" -l json -d 'One JSON object instead of text'
complete -c wazuh-toolkit -n "__fish_wazuh_toolkit_using_subcommand rules; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help'
