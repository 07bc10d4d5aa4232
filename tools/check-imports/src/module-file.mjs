// @ts-check
/** One module's imports and exports, as its syntax says; nothing is resolved or executed. */
import ts from "typescript";

/**
 * @typedef {object} ModuleImport
 * @property {string} specifier
 * @property {number} line  From 1.
 * @property {boolean} typeOnly  Gone when compiled: `import type`, `export type … from`, `import { type A }`.
 * @property {boolean} deferred  `import()`: not part of loading the module.
 */

/**
 * @typedef {object} ModuleFile
 * @property {ModuleImport[]} imports
 * @property {number[]} starExports  Lines of `export *`.
 * @property {number[]} defaultExports  Lines of `export default` and `export { x as default }`.
 */

/**
 * @param {string} path  Only its ending matters: TypeScript or JavaScript.
 * @param {string} text
 * @returns {ModuleFile}
 */
export function parseModule(path, text) {
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.ESNext, false);
  /** @type {ModuleFile} */
  const file = { imports: [], starExports: [], defaultExports: [] };
  /** @param {ts.Node} node */
  const lineOf = (node) => source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1;
  /** @param {ts.Node} at @param {ts.Node | undefined} specifier @param {{ typeOnly?: boolean, deferred?: boolean }} kind */
  const note = (at, specifier, { typeOnly = false, deferred = false }) => {
    if (!specifier || !ts.isStringLiteralLike(specifier)) return;
    file.imports.push({ specifier: specifier.text, line: lineOf(at), typeOnly, deferred });
  };
  for (const statement of source.statements) {
    if (ts.isImportDeclaration(statement)) {
      note(statement, statement.moduleSpecifier, { typeOnly: isTypeOnlyImport(statement.importClause) });
    } else if (ts.isExportDeclaration(statement)) {
      note(statement, statement.moduleSpecifier, { typeOnly: isTypeOnlyExport(statement) });
      const clause = statement.exportClause;
      if (!clause || ts.isNamespaceExport(clause)) file.starExports.push(lineOf(statement));
      else if (clause.elements.some(({ name }) => name.text === "default")) file.defaultExports.push(lineOf(statement));
    } else if (ts.isExportAssignment(statement) || hasDefaultModifier(statement)) {
      file.defaultExports.push(lineOf(statement));
    }
  }
  /** @param {ts.Node} node */
  const visit = (node) => {
    if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      note(node, node.arguments[0], { deferred: true });
    } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      note(node, node.argument.literal, { typeOnly: true });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return file;
}

/** @param {ts.ImportClause | undefined} clause */
function isTypeOnlyImport(clause) {
  if (!clause) return false;
  if (clause.isTypeOnly) return true;
  const bindings = clause.namedBindings;
  if (clause.name || !bindings || !ts.isNamedImports(bindings)) return false;
  return bindings.elements.length > 0 && bindings.elements.every((element) => element.isTypeOnly);
}

/** @param {ts.ExportDeclaration} statement */
function isTypeOnlyExport(statement) {
  if (statement.isTypeOnly) return true;
  const clause = statement.exportClause;
  if (!clause || !ts.isNamedExports(clause)) return false;
  return clause.elements.length > 0 && clause.elements.every((element) => element.isTypeOnly);
}

/** @param {ts.Statement} statement */
function hasDefaultModifier(statement) {
  const modifiers = ts.canHaveModifiers(statement) ? ts.getModifiers(statement) : undefined;
  return modifiers?.some(({ kind }) => kind === ts.SyntaxKind.DefaultKeyword) ?? false;
}
