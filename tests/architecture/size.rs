//! Functions that fit on a screen, and values with names: no tuple parameters, no packed
//! assignments.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::tree::{SourceFile, files, is_cfg_test};

/// No function is longer than this.
const MAX_LINES: usize = 60;
/// Functions longer than this are counted …
const LONG: usize = 40;
/// … and there are at most this many of them.
const MAX_LONG_FUNCTIONS: usize = 30;
/// An assignment of one tuple to another with more values than this hides which is which.
const MAX_PACKED: usize = 2;
/// What a function returns as a tuple may have this many values; more are a struct.
const MAX_UNPACKED: usize = 4;

#[test]
fn no_function_is_too_long() {
    let functions: Vec<(String, usize)> = measured().flat_map(|shape| shape.functions).collect();
    let too_long: Vec<_> = functions
        .iter()
        .filter(|(_, lines)| *lines > MAX_LINES)
        .collect();
    let long: Vec<_> = functions
        .iter()
        .filter(|(_, lines)| *lines > LONG)
        .collect();
    assert!(
        too_long.is_empty(),
        "functions over {MAX_LINES} lines:\n{}",
        listed(&too_long)
    );
    assert!(
        long.len() <= MAX_LONG_FUNCTIONS,
        "{} functions over {LONG} lines, {MAX_LONG_FUNCTIONS} are allowed:\n{}",
        long.len(),
        listed(&long)
    );
}

#[test]
fn parameters_have_names() {
    let found: Vec<String> = measured()
        .flat_map(|shape| shape.tuple_parameters)
        .collect();
    assert!(
        found.is_empty(),
        "tuple parameters; use a struct:\n{}",
        found.join("\n")
    );
}

#[test]
fn assignments_are_not_packed() {
    let found: Vec<String> = measured()
        .flat_map(|shape| shape.packed_assignments)
        .collect();
    assert!(
        found.is_empty(),
        "packed assignments; write one a line:\n{}",
        found.join("\n")
    );
}

#[test]
fn every_shape_is_found() {
    let text = "impl A {\n fn f(&self, (a, b): (u8, u8), c: &(u8, u8)) {\n  // comment\n\n  let x = 1;\n\
                let (a, b, c, d, e) = (1, 2, 3, 4, 5);\n }\n}\n#[cfg(test)]\nmod tests {\n fn g() {}\n}\n";
    let mut shape = Shape::new("f.rs", text);
    shape.visit_file(&syn::parse_file(text).unwrap());
    assert_eq!(shape.functions, [("f.rs:2 f".to_owned(), 4)]);
    assert_eq!(shape.tuple_parameters, ["f.rs:2 f", "f.rs:2 f"]);
    assert_eq!(shape.packed_assignments, ["f.rs:6"]);
}

fn measured() -> impl Iterator<Item = Shape> {
    files()
        .into_iter()
        .filter(|file| !file.is_test())
        .map(|file| measure(&file))
}

fn measure(file: &SourceFile) -> Shape {
    let mut shape = Shape::new(&file.name(), &file.text);
    shape.visit_file(&file.syntax);
    shape
}

fn listed(functions: &[&(String, usize)]) -> String {
    let lines = functions
        .iter()
        .map(|(place, lines)| format!("{place}: {lines}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// What a file's functions look like.
struct Shape {
    file: String,
    /// Whether each line, from the first, is code: neither blank nor only a comment.
    is_code: Vec<bool>,
    /// Each function with its lines of code, signature and braces included.
    functions: Vec<(String, usize)>,
    tuple_parameters: Vec<String>,
    packed_assignments: Vec<String>,
}

impl Shape {
    fn new(file: &str, text: &str) -> Self {
        let is_code = |line: &str| !line.trim().is_empty() && !line.trim().starts_with("//");
        Self {
            file: file.to_owned(),
            is_code: text.lines().map(is_code).collect(),
            functions: Vec::new(),
            tuple_parameters: Vec::new(),
            packed_assignments: Vec::new(),
        }
    }

    fn function(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let first = signature.span().start().line;
        let last = block.span().end().line;
        let place = format!("{}:{first} {}", self.file, signature.ident);
        let lines = self.is_code[first - 1..last]
            .iter()
            .filter(|is_code| **is_code)
            .count();
        for input in &signature.inputs {
            if matches!(input, syn::FnArg::Typed(typed) if is_tuple(&typed.ty)) {
                self.tuple_parameters.push(place.clone());
            }
        }
        self.functions.push((place, lines));
    }

    fn packed(&mut self, span: proc_macro2::Span) {
        self.packed_assignments
            .push(format!("{}:{}", self.file, span.start().line));
    }
}

/// Whether a parameter is a tuple or a reference to one.
fn is_tuple(ty: &syn::Type) -> bool {
    match ty {
        syn::Type::Tuple(tuple) => !tuple.elems.is_empty(),
        syn::Type::Reference(reference) => is_tuple(&reference.elem),
        _ => false,
    }
}

impl<'ast> Visit<'ast> for Shape {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_cfg_test(&item.attrs) {
            self.function(&item.sig, &item.block);
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_cfg_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        if let syn::Pat::Tuple(tuple) = &local.pat {
            let value = local.init.as_ref().map(|init| &*init.expr);
            let most = if matches!(value, Some(syn::Expr::Tuple(_))) {
                MAX_PACKED
            } else {
                MAX_UNPACKED
            };
            if tuple.elems.len() > most {
                self.packed(local.span());
            }
        }
        visit::visit_local(self, local);
    }

    fn visit_expr_assign(&mut self, assign: &'ast syn::ExprAssign) {
        if matches!(&*assign.left, syn::Expr::Tuple(tuple) if tuple.elems.len() > MAX_PACKED) {
            self.packed(assign.span());
        }
        visit::visit_expr_assign(self, assign);
    }
}
