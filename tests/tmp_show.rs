use sms_sidecar::{config::check_text, dialect::Catalog, problem::{Report, Text}};
#[test] fn show() {
  for f in std::fs::read_dir("tests/config/invalid").unwrap() { let f=f.unwrap().path(); if f.extension().unwrap()!="toml" {continue}
    let text=std::fs::read_to_string(&f).unwrap(); let name=f.file_name().unwrap().to_str().unwrap().to_owned();
    let (_, problems)=check_text(&name,&text,&Catalog::default());
    println!("=================== {name}\n{}\n", Report{problems, texts: vec![Text{file:name.clone(),text,description:false}]});
  }
}
