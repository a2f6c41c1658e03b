# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_custom_webhook_global_optspecs
    string join \n home= state-dir= config= check-config h/help V/version
end

function __fish_custom_webhook_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_custom_webhook_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_custom_webhook_using_subcommand
    set -l cmd (__fish_custom_webhook_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c custom-webhook -n "__fish_custom_webhook_needs_command" -l home -d 'Where Wazuh is installed [env: WAZUH_HOME; default: /var/ossec]' -r -F
complete -c custom-webhook -n "__fish_custom_webhook_needs_command" -l state-dir -d 'Where state is kept, a folder for each program [env: WAZUH_TOOLKIT_STATE_DIR; default: /var/lib/wazuh-toolkit]' -r -F
complete -c custom-webhook -n "__fish_custom_webhook_needs_command" -l config -d 'The configuration [env: WAZUH_TOOLKIT_CONFIG_DIR names its folder; default: /etc/wazuh-toolkit/custom-webhook.toml]' -r -F
complete -c custom-webhook -n "__fish_custom_webhook_needs_command" -l check-config -d 'Check the configuration and say what is wrong with it (exit code 78)'
complete -c custom-webhook -n "__fish_custom_webhook_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c custom-webhook -n "__fish_custom_webhook_needs_command" -s V -l version -d 'Print version'
complete -c custom-webhook -n "__fish_custom_webhook_needs_command" -f -a "doctor" -d 'Look for everything that could keep events from coming (exit code 1: something was found)'
complete -c custom-webhook -n "__fish_custom_webhook_needs_command" -f -a "send" -d 'Sign a sample as its sender would, and post it to the running daemon'
complete -c custom-webhook -n "__fish_custom_webhook_needs_command" -f -a "tail" -d 'Show what arrives, as it arrives'
complete -c custom-webhook -n "__fish_custom_webhook_using_subcommand doctor" -l home -d 'Where Wazuh is installed [env: WAZUH_HOME; default: /var/ossec]' -r -F
complete -c custom-webhook -n "__fish_custom_webhook_using_subcommand doctor" -l state-dir -d 'Where state is kept, a folder for each program [env: WAZUH_TOOLKIT_STATE_DIR; default: /var/lib/wazuh-toolkit]' -r -F
complete -c custom-webhook -n "__fish_custom_webhook_using_subcommand doctor" -l config -d 'The configuration [env: WAZUH_TOOLKIT_CONFIG_DIR names its folder; default: /etc/wazuh-toolkit/custom-webhook.toml]' -r -F
complete -c custom-webhook -n "__fish_custom_webhook_using_subcommand doctor" -l json -d 'One JSON object instead of text'
complete -c custom-webhook -n "__fish_custom_webhook_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c custom-webhook -n "__fish_custom_webhook_using_subcommand send" -l source -d 'As which source, by its name in the configuration' -r
complete -c custom-webhook -n "__fish_custom_webhook_using_subcommand send" -l event -d 'The event\'s kind, where a header says it [default: of GitHub, guessed from the file\'s name]' -r
complete -c custom-webhook -n "__fish_custom_webhook_using_subcommand send" -l url -d 'Where to [default: what the configuration says]' -r
complete -c custom-webhook -n "__fish_custom_webhook_using_subcommand send" -l ca-file -d 'The certificate authority of the daemon, as PEM' -r -F
complete -c custom-webhook -n "__fish_custom_webhook_using_subcommand send" -l home -d 'Where Wazuh is installed [env: WAZUH_HOME; default: /var/ossec]' -r -F
complete -c custom-webhook -n "__fish_custom_webhook_using_subcommand send" -l state-dir -d 'Where state is kept, a folder for each program [env: WAZUH_TOOLKIT_STATE_DIR; default: /var/lib/wazuh-toolkit]' -r -F
complete -c custom-webhook -n "__fish_custom_webhook_using_subcommand send" -l config -d 'The configuration [env: WAZUH_TOOLKIT_CONFIG_DIR names its folder; default: /etc/wazuh-toolkit/custom-webhook.toml]' -r -F
complete -c custom-webhook -n "__fish_custom_webhook_using_subcommand send" -s h -l help -d 'Print help'
complete -c custom-webhook -n "__fish_custom_webhook_using_subcommand tail" -s n -l lines -d 'Begin with so many of the last lines' -r
complete -c custom-webhook -n "__fish_custom_webhook_using_subcommand tail" -l home -d 'Where Wazuh is installed [env: WAZUH_HOME; default: /var/ossec]' -r -F
complete -c custom-webhook -n "__fish_custom_webhook_using_subcommand tail" -l state-dir -d 'Where state is kept, a folder for each program [env: WAZUH_TOOLKIT_STATE_DIR; default: /var/lib/wazuh-toolkit]' -r -F
complete -c custom-webhook -n "__fish_custom_webhook_using_subcommand tail" -l config -d 'The configuration [env: WAZUH_TOOLKIT_CONFIG_DIR names its folder; default: /etc/wazuh-toolkit/custom-webhook.toml]' -r -F
complete -c custom-webhook -n "__fish_custom_webhook_using_subcommand tail" -l raw -d 'The lines as they are'
complete -c custom-webhook -n "__fish_custom_webhook_using_subcommand tail" -l once -d 'End after these lines instead of waiting for more'
complete -c custom-webhook -n "__fish_custom_webhook_using_subcommand tail" -s h -l help -d 'Print help'
