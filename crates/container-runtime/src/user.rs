//! Who a container runs as, by the image's own `/etc/passwd` and `/etc/group`.

use crate::User;
use crate::oci::Identity;

/// Answers every question that `wanted` leaves open from the image's files (their texts; empty if missing).
///
/// # Errors
/// A sentence for people, as upstream's runtimes say it, if a named user or group is not in the files.
pub(crate) fn resolve(wanted: &User, passwd: &str, group: &str) -> Result<Identity, String> {
    let (user, group_name) = match wanted.uid {
        Some(_) => ("", None),
        None => match wanted.image_user.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (wanted.image_user.as_str(), None),
        },
    };
    let users = entries(passwd, 7);
    let known = |uid: u32| users.iter().find(|fields| fields[2].parse() == Ok(uid));
    let entry = match (wanted.uid, user) {
        (Some(uid), _) => known(uid),
        (None, "") => known(0),
        (None, name) => match name.parse::<u32>() {
            Ok(uid) => known(uid),
            Err(_) => Some(
                users
                    .iter()
                    .find(|fields| fields[0] == name)
                    .ok_or_else(|| format!("unable to find user {name}: no matching entries in passwd file"))?,
            ),
        },
    };
    let uid = match wanted.uid {
        Some(uid) => uid,
        None if user.is_empty() => 0,
        None => match user.parse() {
            Ok(uid) => uid,
            Err(_) => entry.and_then(|fields| fields[2].parse().ok()).unwrap_or(0),
        },
    };
    let groups = entries(group, 4);
    let named = match group_name {
        None | Some("") => None,
        Some(name) => Some(match name.parse::<u32>() {
            Ok(gid) => gid,
            Err(_) => groups
                .iter()
                .find(|fields| fields[0] == name)
                .and_then(|fields| fields[2].parse().ok())
                .ok_or_else(|| format!("unable to find group {name}: no matching entries in group file"))?,
        }),
    };
    let primary = entry.and_then(|fields| fields[3].parse().ok()).unwrap_or(0);
    let gid = wanted.gid.or(named).unwrap_or(primary);
    let mut all: Vec<u32> = Vec::new();
    if named.is_none()
        && let Some(entry) = entry
    {
        let is_member = |fields: &&Vec<&str>| fields[3].split(',').any(|member| member == entry[0]);
        all.extend(groups.iter().filter(is_member).filter_map(|fields| fields[2].parse::<u32>().ok()));
    }
    all.extend(&wanted.supplementary_gids);
    all.sort_unstable();
    all.dedup();
    let home = entry.map(|fields| fields[5]).filter(|home| !home.is_empty()).unwrap_or("/");
    Ok(Identity { uid, gid, groups: all, home: home.to_owned() })
}

fn entries(text: &str, fields: usize) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split(':').collect::<Vec<_>>()).filter(|f| f.len() >= fields).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nredis:x:999:998:Redis:/var/lib/redis:/bin/sh\nbroken\n";
    const GROUP: &str = "root:x:0:\nredis:x:998:\nssl:x:101:redis,other\nwheel:x:10:root\n";

    fn check(uid: Option<u32>, gid: Option<u32>, image_user: &str, more: &[u32]) -> String {
        let user = User { uid, gid, image_user: image_user.to_owned(), supplementary_gids: more.to_vec() };
        match resolve(&user, PASSWD, GROUP) {
            Ok(i) => format!("{}:{} {:?} {}", i.uid, i.gid, i.groups, i.home),
            Err(why) => why,
        }
    }

    #[test]
    fn users_and_groups_are_those_of_the_image() {
        assert_eq!(check(None, None, "", &[]), "0:0 [10] /root");
        assert_eq!(check(None, None, "redis", &[]), "999:998 [101] /var/lib/redis");
        assert_eq!(check(None, None, "999", &[7]), "999:998 [7, 101] /var/lib/redis");
        assert_eq!(check(None, None, "redis:wheel", &[]), "999:10 [] /var/lib/redis");
        assert_eq!(check(None, None, "1234:5", &[]), "1234:5 [] /");
        assert_eq!(check(Some(999), None, "ignored", &[2000]), "999:998 [101, 2000] /var/lib/redis");
        assert_eq!(check(Some(1000), Some(3000), "", &[2000]), "1000:3000 [2000] /");
        assert_eq!(check(Some(1000), None, "", &[]), "1000:0 [] /");
        assert_eq!(check(None, None, "mysql", &[]), "unable to find user mysql: no matching entries in passwd file");
        assert_eq!(check(None, None, "0:no", &[]), "unable to find group no: no matching entries in group file");
    }
}
