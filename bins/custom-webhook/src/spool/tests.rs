use super::*;

fn frame(receipt: u64, lines: &[&str]) -> Frame {
    let lines = lines.iter().map(|line| line.as_bytes().to_vec()).collect();
    Frame { receipt, at: 7, ids: vec![Id::from_bytes([u8::try_from(receipt).unwrap(); 16])], lines }
}

fn bytes(frames: &[Frame]) -> Vec<u8> {
    let mut buffer = Vec::new();
    frames.iter().for_each(|frame| frame.write(&mut buffer));
    buffer
}

#[test]
fn a_frame_is_read_as_it_was_written_and_a_damaged_one_is_none() {
    let written = frame(9, &["{\"a\":1}\n", ""]);
    let bytes = bytes(std::slice::from_ref(&written));
    assert_eq!(Frame::read(&bytes), Some((written, bytes.len())));
    for at in 0..bytes.len() {
        assert_eq!(Frame::read(&bytes[..at]), None);
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x40;
        assert_eq!(Frame::read(&damaged), None, "{at}");
    }
}

#[test]
fn receipts_go_on_where_they_were_and_what_is_torn_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path(), 5, SEGMENT * 4, |_| ()).unwrap();
    assert_eq!(writer.next_receipt(), 5);
    let all = [frame(5, &["a", "b"]), frame(7, &["c"])];
    writer.append(&bytes(&all), 8).unwrap();
    let torn = bytes(&[frame(8, &["never promised"])]);
    writer.file.write_all_at(&torn[..torn.len() - 1], writer.length).unwrap();
    drop(writer);
    let mut seen = Vec::new();
    let writer = Writer::open(dir.path(), 1, SEGMENT * 4, |frame| seen.push(frame.clone())).unwrap();
    assert_eq!((seen.as_slice(), writer.next_receipt()), (&all[..], 8));
    assert_eq!(Segment::all(dir.path()).unwrap().len(), 2);
}

#[test]
fn a_reader_sees_what_is_appended_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path(), 1, SEGMENT * 4, |_| ()).unwrap();
    let mut reader = Reader::open(writer.segment(), dir.path()).unwrap();
    assert_eq!(reader.frame(u64::MAX).unwrap(), None);
    for receipt in 1..=3 {
        let long = "x".repeat(300_000);
        let one = frame(receipt, &[&long]);
        writer.append(&bytes(std::slice::from_ref(&one)), receipt + 1).unwrap();
        assert_eq!(reader.frame(receipt).unwrap(), None, "it is not known to be on the disk");
        assert_eq!(reader.frame(receipt + 1).unwrap(), Some(one));
        assert_eq!(reader.frame(u64::MAX).unwrap(), None);
    }
}

#[test]
fn what_is_damaged_takes_nothing_behind_it_along() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path(), 1, SEGMENT * 4, |_| ()).unwrap();
    let all: Vec<Frame> = (1..=5).map(|receipt| frame(receipt, &["a line of some length"])).collect();
    writer.append(&bytes(&all), 6).unwrap();
    let path = writer.segment().path(dir.path());
    let mut damaged = std::fs::read(&path).unwrap();
    assert_eq!(damaged.len() as u64, STEP, "it has room for more");
    let second = bytes(&all[..1]).len();
    damaged[second] = 0xff;
    std::fs::write(&path, damaged).unwrap();
    let mut reader = Reader::open(writer.segment(), dir.path()).unwrap();
    let mut found = Vec::new();
    while let Some(frame) = reader.frame_behind_damage().unwrap() {
        found.push(frame.receipt);
    }
    assert_eq!((found, reader.skipped()), (vec![1, 3, 4, 5], second as u64));
}

#[test]
fn a_file_with_a_line_is_followed_by_another_when_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path(), 1, 4, |_| ()).unwrap();
    writer.turn().unwrap();
    assert_eq!(Segment::all(dir.path()).unwrap().len(), 1, "there is nothing in it");
    writer.append(&bytes(&[frame(1, &["a"])]), 2).unwrap();
    writer.append(&bytes(&[frame(2, &["b"])]), 3).unwrap();
    assert_eq!(Segment::all(dir.path()).unwrap().len(), 2, "a quarter of the limit is full");
}

#[test]
fn a_file_without_a_line_is_followed_by_another_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path(), 1, SEGMENT, |_| ()).unwrap();
    writer.append(&bytes(&[frame(1, &[])]), 1).unwrap();
    writer.turn().unwrap();
    assert_eq!(Segment::all(dir.path()).unwrap(), [Segment(1), Segment(2)]);
    writer.turn().unwrap();
    assert_eq!(writer.next_receipt(), 2, "there is nothing in it");
    writer.append(&bytes(&[frame(2, &["a"])]), 3).unwrap();
    drop(writer);
    let mut seen = Vec::new();
    let writer = Writer::open(dir.path(), 1, SEGMENT, |frame| seen.push(frame.receipt)).unwrap();
    assert_eq!((seen, writer.next_receipt()), (vec![1, 2], 3));
}

#[test]
fn room_that_was_not_needed_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let sizes = || {
        let all = Segment::all(dir.path()).unwrap();
        all.iter().map(|one| std::fs::metadata(one.path(dir.path())).unwrap().len()).collect::<Vec<_>>()
    };
    let one = bytes(&[frame(1, &["a"])]);
    let length = one.len() as u64;
    let mut writer = Writer::open(dir.path(), 1, SEGMENT * 4, |_| ()).unwrap();
    writer.append(&one, 2).unwrap();
    assert_eq!((sizes(), writer.bytes()), (vec![STEP], length));
    writer.turn().unwrap();
    assert_eq!((sizes(), writer.bytes()), (vec![length, 0], length));
    writer.append(&bytes(&[frame(2, &["b"])]), 3).unwrap();
    assert_eq!((sizes(), writer.bytes()), (vec![length, STEP], 2 * length), "the next one, too");
    // Killed; and then stopped.
    drop(writer);
    let mut writer = Writer::open(dir.path(), 1, SEGMENT * 4, |_| ()).unwrap();
    assert_eq!((sizes(), writer.bytes()), (vec![length, length, 0], 2 * length));
    writer.forget(&Segment(1));
    writer.append(&bytes(&[frame(3, &[&"c".repeat(300_000)])]), 4).unwrap();
    assert_eq!(sizes()[2], 2 * STEP);
    writer.append(&bytes(&[frame(4, &["d"])]), 5).unwrap();
    assert_eq!(sizes()[2], 2 * STEP);
    writer.probe(300_000).unwrap();
    assert_eq!(sizes()[2], 3 * STEP);
    writer.append(&bytes(&[frame(5, &["e"])]), 6).unwrap();
    let mut reader = Reader::open(&Segment(3), dir.path()).unwrap();
    let found = std::iter::from_fn(|| reader.frame_behind_damage().unwrap());
    assert_eq!(found.map(|frame| frame.receipt).collect::<Vec<_>>(), [3, 4, 5]);
    writer.turn().unwrap();
    writer.end();
    assert_eq!(sizes()[2..], [writer.bytes() - length, 0]);
}

#[test]
fn a_receipt_is_found_in_the_line_that_carries_it() {
    let line = stamped(&Line::from_json(&serde_json::json!({"a": "x\",\"receipt\":\"9"})), 42);
    assert!(line.ends_with(b",\"receipt\":\"42\"}\n"));
    assert_eq!(receipt_of(line.trim_ascii_end()), Some(42));
    for other in ["", "\"}", "{\"receipt\":\"x\"}", "{\"a\":\"7\"}", "{,\"receipt\":\"-1\"}"] {
        assert_eq!(receipt_of(other.as_bytes()), None, "{other}");
    }
}
