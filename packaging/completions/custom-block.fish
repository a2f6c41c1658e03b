# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_custom_block_global_optspecs
    string join \n home= state-dir= config= backend= dry-run check-config h/help V/version
end

function __fish_custom_block_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_custom_block_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_custom_block_using_subcommand
    set -l cmd (__fish_custom_block_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c custom-block -n "__fish_custom_block_needs_command" -l home -d 'Where Wazuh is installed [env: WAZUH_HOME; default: /var/ossec]' -r -F
complete -c custom-block -n "__fish_custom_block_needs_command" -l state-dir -d 'Where state is kept, a folder for each program [env: WAZUH_TOOLKIT_STATE_DIR; default: /var/lib/wazuh-toolkit]' -r -F
complete -c custom-block -n "__fish_custom_block_needs_command" -l config -d 'The configuration [env: WAZUH_TOOLKIT_CONFIG_DIR names its folder; default: /etc/wazuh-toolkit/custom-block.toml]' -r -F
complete -c custom-block -n "__fish_custom_block_needs_command" -l backend -d 'Use these instead of the configured backends' -r -f -a "auto\t'The first of nftables, ipset and iptables that the kernel has'
nftables\t'Sets of an own nftables table, by netlink'
ipset\t'Sets of the ipset family, by netlink, and one iptables rule each'
iptables\t'One iptables rule an address'
api\t'A firewall\'s HTTP API, through a durable outbox'
file\t'A plain blocklist file for firewalls that pull'
dry-run\t'Nothing is touched; the record says what would have been'"
complete -c custom-block -n "__fish_custom_block_needs_command" -l dry-run -d 'Decide and record, but block and unblock nothing'
complete -c custom-block -n "__fish_custom_block_needs_command" -l check-config -d 'Check the configuration and say what is wrong with it (exit code 78)'
complete -c custom-block -n "__fish_custom_block_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c custom-block -n "__fish_custom_block_needs_command" -s V -l version -d 'Print version'
complete -c custom-block -n "__fish_custom_block_needs_command" -f -a "list" -d 'Show what is blocked: what the kernel says, and who wanted it'
complete -c custom-block -n "__fish_custom_block_needs_command" -f -a "why" -d 'Tell why an address is blocked (exit code 1: it is not)'
complete -c custom-block -n "__fish_custom_block_needs_command" -f -a "add" -d 'Block an address or network; Wazuh will not lift it'
complete -c custom-block -n "__fish_custom_block_needs_command" -f -a "remove" -d 'Lift a block, whoever wanted it'
complete -c custom-block -n "__fish_custom_block_needs_command" -f -a "flush" -d 'Lift all blocks and remove what was built for them'
complete -c custom-block -n "__fish_custom_block_needs_command" -f -a "restore" -d 'Put back what has not expired, after a reboot or when others flushed the firewall; lift what has; resolve host names'
complete -c custom-block -n "__fish_custom_block_needs_command" -f -a "deliver" -d 'Tell firewalls with an HTTP API what they have not been told yet'
complete -c custom-block -n "__fish_custom_block_needs_command" -f -a "doctor" -d 'Look for everything that could keep a block from working (exit code 1: something was found)'
complete -c custom-block -n "__fish_custom_block_using_subcommand list" -l home -d 'Where Wazuh is installed [env: WAZUH_HOME; default: /var/ossec]' -r -F
complete -c custom-block -n "__fish_custom_block_using_subcommand list" -l state-dir -d 'Where state is kept, a folder for each program [env: WAZUH_TOOLKIT_STATE_DIR; default: /var/lib/wazuh-toolkit]' -r -F
complete -c custom-block -n "__fish_custom_block_using_subcommand list" -l config -d 'The configuration [env: WAZUH_TOOLKIT_CONFIG_DIR names its folder; default: /etc/wazuh-toolkit/custom-block.toml]' -r -F
complete -c custom-block -n "__fish_custom_block_using_subcommand list" -l backend -d 'Use these instead of the configured backends' -r -f -a "auto\t'The first of nftables, ipset and iptables that the kernel has'
nftables\t'Sets of an own nftables table, by netlink'
ipset\t'Sets of the ipset family, by netlink, and one iptables rule each'
iptables\t'One iptables rule an address'
api\t'A firewall\'s HTTP API, through a durable outbox'
file\t'A plain blocklist file for firewalls that pull'
dry-run\t'Nothing is touched; the record says what would have been'"
complete -c custom-block -n "__fish_custom_block_using_subcommand list" -l json -d 'One JSON array instead of a table'
complete -c custom-block -n "__fish_custom_block_using_subcommand list" -l dry-run -d 'Decide and record, but block and unblock nothing'
complete -c custom-block -n "__fish_custom_block_using_subcommand list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c custom-block -n "__fish_custom_block_using_subcommand why" -l home -d 'Where Wazuh is installed [env: WAZUH_HOME; default: /var/ossec]' -r -F
complete -c custom-block -n "__fish_custom_block_using_subcommand why" -l state-dir -d 'Where state is kept, a folder for each program [env: WAZUH_TOOLKIT_STATE_DIR; default: /var/lib/wazuh-toolkit]' -r -F
complete -c custom-block -n "__fish_custom_block_using_subcommand why" -l config -d 'The configuration [env: WAZUH_TOOLKIT_CONFIG_DIR names its folder; default: /etc/wazuh-toolkit/custom-block.toml]' -r -F
complete -c custom-block -n "__fish_custom_block_using_subcommand why" -l backend -d 'Use these instead of the configured backends' -r -f -a "auto\t'The first of nftables, ipset and iptables that the kernel has'
nftables\t'Sets of an own nftables table, by netlink'
ipset\t'Sets of the ipset family, by netlink, and one iptables rule each'
iptables\t'One iptables rule an address'
api\t'A firewall\'s HTTP API, through a durable outbox'
file\t'A plain blocklist file for firewalls that pull'
dry-run\t'Nothing is touched; the record says what would have been'"
complete -c custom-block -n "__fish_custom_block_using_subcommand why" -l dry-run -d 'Decide and record, but block and unblock nothing'
complete -c custom-block -n "__fish_custom_block_using_subcommand why" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c custom-block -n "__fish_custom_block_using_subcommand add" -l ttl -d 'For how long, as 90s, 24h or 7d; 0 is for ever [default: `ttl` of the configuration]' -r
complete -c custom-block -n "__fish_custom_block_using_subcommand add" -l reason -d 'Why, for whoever finds it later' -r
complete -c custom-block -n "__fish_custom_block_using_subcommand add" -l home -d 'Where Wazuh is installed [env: WAZUH_HOME; default: /var/ossec]' -r -F
complete -c custom-block -n "__fish_custom_block_using_subcommand add" -l state-dir -d 'Where state is kept, a folder for each program [env: WAZUH_TOOLKIT_STATE_DIR; default: /var/lib/wazuh-toolkit]' -r -F
complete -c custom-block -n "__fish_custom_block_using_subcommand add" -l config -d 'The configuration [env: WAZUH_TOOLKIT_CONFIG_DIR names its folder; default: /etc/wazuh-toolkit/custom-block.toml]' -r -F
complete -c custom-block -n "__fish_custom_block_using_subcommand add" -l backend -d 'Use these instead of the configured backends' -r -f -a "auto\t'The first of nftables, ipset and iptables that the kernel has'
nftables\t'Sets of an own nftables table, by netlink'
ipset\t'Sets of the ipset family, by netlink, and one iptables rule each'
iptables\t'One iptables rule an address'
api\t'A firewall\'s HTTP API, through a durable outbox'
file\t'A plain blocklist file for firewalls that pull'
dry-run\t'Nothing is touched; the record says what would have been'"
complete -c custom-block -n "__fish_custom_block_using_subcommand add" -l force -d 'Block also what is protected, and the client of this SSH session'
complete -c custom-block -n "__fish_custom_block_using_subcommand add" -l dry-run -d 'Decide and record, but block and unblock nothing'
complete -c custom-block -n "__fish_custom_block_using_subcommand add" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c custom-block -n "__fish_custom_block_using_subcommand remove" -l home -d 'Where Wazuh is installed [env: WAZUH_HOME; default: /var/ossec]' -r -F
complete -c custom-block -n "__fish_custom_block_using_subcommand remove" -l state-dir -d 'Where state is kept, a folder for each program [env: WAZUH_TOOLKIT_STATE_DIR; default: /var/lib/wazuh-toolkit]' -r -F
complete -c custom-block -n "__fish_custom_block_using_subcommand remove" -l config -d 'The configuration [env: WAZUH_TOOLKIT_CONFIG_DIR names its folder; default: /etc/wazuh-toolkit/custom-block.toml]' -r -F
complete -c custom-block -n "__fish_custom_block_using_subcommand remove" -l backend -d 'Use these instead of the configured backends' -r -f -a "auto\t'The first of nftables, ipset and iptables that the kernel has'
nftables\t'Sets of an own nftables table, by netlink'
ipset\t'Sets of the ipset family, by netlink, and one iptables rule each'
iptables\t'One iptables rule an address'
api\t'A firewall\'s HTTP API, through a durable outbox'
file\t'A plain blocklist file for firewalls that pull'
dry-run\t'Nothing is touched; the record says what would have been'"
complete -c custom-block -n "__fish_custom_block_using_subcommand remove" -l dry-run -d 'Decide and record, but block and unblock nothing'
complete -c custom-block -n "__fish_custom_block_using_subcommand remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c custom-block -n "__fish_custom_block_using_subcommand flush" -l home -d 'Where Wazuh is installed [env: WAZUH_HOME; default: /var/ossec]' -r -F
complete -c custom-block -n "__fish_custom_block_using_subcommand flush" -l state-dir -d 'Where state is kept, a folder for each program [env: WAZUH_TOOLKIT_STATE_DIR; default: /var/lib/wazuh-toolkit]' -r -F
complete -c custom-block -n "__fish_custom_block_using_subcommand flush" -l config -d 'The configuration [env: WAZUH_TOOLKIT_CONFIG_DIR names its folder; default: /etc/wazuh-toolkit/custom-block.toml]' -r -F
complete -c custom-block -n "__fish_custom_block_using_subcommand flush" -l backend -d 'Use these instead of the configured backends' -r -f -a "auto\t'The first of nftables, ipset and iptables that the kernel has'
nftables\t'Sets of an own nftables table, by netlink'
ipset\t'Sets of the ipset family, by netlink, and one iptables rule each'
iptables\t'One iptables rule an address'
api\t'A firewall\'s HTTP API, through a durable outbox'
file\t'A plain blocklist file for firewalls that pull'
dry-run\t'Nothing is touched; the record says what would have been'"
complete -c custom-block -n "__fish_custom_block_using_subcommand flush" -l yes -d 'Do not ask'
complete -c custom-block -n "__fish_custom_block_using_subcommand flush" -l dry-run -d 'Decide and record, but block and unblock nothing'
complete -c custom-block -n "__fish_custom_block_using_subcommand flush" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c custom-block -n "__fish_custom_block_using_subcommand restore" -l home -d 'Where Wazuh is installed [env: WAZUH_HOME; default: /var/ossec]' -r -F
complete -c custom-block -n "__fish_custom_block_using_subcommand restore" -l state-dir -d 'Where state is kept, a folder for each program [env: WAZUH_TOOLKIT_STATE_DIR; default: /var/lib/wazuh-toolkit]' -r -F
complete -c custom-block -n "__fish_custom_block_using_subcommand restore" -l config -d 'The configuration [env: WAZUH_TOOLKIT_CONFIG_DIR names its folder; default: /etc/wazuh-toolkit/custom-block.toml]' -r -F
complete -c custom-block -n "__fish_custom_block_using_subcommand restore" -l backend -d 'Use these instead of the configured backends' -r -f -a "auto\t'The first of nftables, ipset and iptables that the kernel has'
nftables\t'Sets of an own nftables table, by netlink'
ipset\t'Sets of the ipset family, by netlink, and one iptables rule each'
iptables\t'One iptables rule an address'
api\t'A firewall\'s HTTP API, through a durable outbox'
file\t'A plain blocklist file for firewalls that pull'
dry-run\t'Nothing is touched; the record says what would have been'"
complete -c custom-block -n "__fish_custom_block_using_subcommand restore" -l dry-run -d 'Decide and record, but block and unblock nothing'
complete -c custom-block -n "__fish_custom_block_using_subcommand restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c custom-block -n "__fish_custom_block_using_subcommand deliver" -l home -d 'Where Wazuh is installed [env: WAZUH_HOME; default: /var/ossec]' -r -F
complete -c custom-block -n "__fish_custom_block_using_subcommand deliver" -l state-dir -d 'Where state is kept, a folder for each program [env: WAZUH_TOOLKIT_STATE_DIR; default: /var/lib/wazuh-toolkit]' -r -F
complete -c custom-block -n "__fish_custom_block_using_subcommand deliver" -l config -d 'The configuration [env: WAZUH_TOOLKIT_CONFIG_DIR names its folder; default: /etc/wazuh-toolkit/custom-block.toml]' -r -F
complete -c custom-block -n "__fish_custom_block_using_subcommand deliver" -l backend -d 'Use these instead of the configured backends' -r -f -a "auto\t'The first of nftables, ipset and iptables that the kernel has'
nftables\t'Sets of an own nftables table, by netlink'
ipset\t'Sets of the ipset family, by netlink, and one iptables rule each'
iptables\t'One iptables rule an address'
api\t'A firewall\'s HTTP API, through a durable outbox'
file\t'A plain blocklist file for firewalls that pull'
dry-run\t'Nothing is touched; the record says what would have been'"
complete -c custom-block -n "__fish_custom_block_using_subcommand deliver" -l dry-run -d 'Decide and record, but block and unblock nothing'
complete -c custom-block -n "__fish_custom_block_using_subcommand deliver" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c custom-block -n "__fish_custom_block_using_subcommand doctor" -l home -d 'Where Wazuh is installed [env: WAZUH_HOME; default: /var/ossec]' -r -F
complete -c custom-block -n "__fish_custom_block_using_subcommand doctor" -l state-dir -d 'Where state is kept, a folder for each program [env: WAZUH_TOOLKIT_STATE_DIR; default: /var/lib/wazuh-toolkit]' -r -F
complete -c custom-block -n "__fish_custom_block_using_subcommand doctor" -l config -d 'The configuration [env: WAZUH_TOOLKIT_CONFIG_DIR names its folder; default: /etc/wazuh-toolkit/custom-block.toml]' -r -F
complete -c custom-block -n "__fish_custom_block_using_subcommand doctor" -l backend -d 'Use these instead of the configured backends' -r -f -a "auto\t'The first of nftables, ipset and iptables that the kernel has'
nftables\t'Sets of an own nftables table, by netlink'
ipset\t'Sets of the ipset family, by netlink, and one iptables rule each'
iptables\t'One iptables rule an address'
api\t'A firewall\'s HTTP API, through a durable outbox'
file\t'A plain blocklist file for firewalls that pull'
dry-run\t'Nothing is touched; the record says what would have been'"
complete -c custom-block -n "__fish_custom_block_using_subcommand doctor" -l json -d 'One JSON object instead of text'
complete -c custom-block -n "__fish_custom_block_using_subcommand doctor" -l dry-run -d 'Decide and record, but block and unblock nothing'
complete -c custom-block -n "__fish_custom_block_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
