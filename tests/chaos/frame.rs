//! Ethernet frames as a host's kernel hands them to its virtual interface.

const ETHERNET_BYTES: usize = 14;
const TYPE_IPV4: [u8; 2] = [0x08, 0x00];
const TYPE_ARP: [u8; 2] = [0x08, 0x06];
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Whether the frame is of a kind that the switch passes on.
pub fn is_ours(frame: &[u8]) -> bool {
    frame.len() > ETHERNET_BYTES && (frame[12..14] == TYPE_IPV4 || frame[12..14] == TYPE_ARP)
}

/// Fills in the checksum of TCP and UDP, which the kernel leaves to the device; a virtual one has
/// none, and the receiving kernel would refuse the packet.
pub fn complete(frame: &mut [u8]) {
    if frame.len() < ETHERNET_BYTES + 20 || frame[12..14] != TYPE_IPV4 {
        return;
    }
    let ip = &frame[ETHERNET_BYTES..];
    let header = usize::from(ip[0] & 15) * 4;
    let total = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
    // What comes in fragments was completed before it was cut.
    let fragment = u16::from_be_bytes([ip[6], ip[7]]) & 0x3fff != 0;
    let protocol = ip[9];
    let position = match protocol {
        TCP => 16,
        UDP => 6,
        _ => return,
    };
    if fragment || total > ip.len() || total < header + position + 2 {
        return;
    }
    let pseudo = sum(&ip[12..20]) + u32::from(protocol) + (total - header) as u32;
    let segment = &mut frame[ETHERNET_BYTES + header..ETHERNET_BYTES + total];
    segment[position..position + 2].fill(0);
    let folded = !fold(pseudo + sum(segment));
    // In UDP a zero means that there is no checksum.
    let folded = if folded == 0 && protocol == UDP { 0xffff } else { folded };
    segment[position..position + 2].copy_from_slice(&folded.to_be_bytes());
}

fn sum(bytes: &[u8]) -> u32 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    bytes.chunks(2).map(word).sum()
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The example of RFC 1071, and the rule of the sender: with its checksum in, all adds up.
#[test]
fn checksums_add_up() {
    assert_eq!(fold(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])), 0xddf2);
    for protocol in [TCP, UDP] {
        for payload in 0..5 {
            let mut frame = vec![7; ETHERNET_BYTES + 20 + 20 + payload];
            frame[12..14].copy_from_slice(&TYPE_IPV4);
            frame[14] = 0x45;
            frame[16..18].copy_from_slice(&(40 + payload as u16).to_be_bytes());
            frame[20..22].fill(0);
            frame[23] = protocol;
            complete(&mut frame);
            let pseudo = sum(&frame[26..34]) + u32::from(protocol) + 20 + payload as u32;
            assert_eq!(fold(pseudo + sum(&frame[34..])), 0xffff, "{payload} bytes");
        }
    }
}
