// @ts-check
/** One module's imports and exports, as its syntax says; nothing is resolved or executed. */
import ts from "typescript";

/**
 * @typedef {object} ModuleImport
 * @property {string} specifier
 * @property {number} line  From 1.
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
  /** @param {ts.Node} at @param {ts.Node | undefined} specifier */
  const note = (at, specifier) => {
    if (!specifier || !ts.isStringLiteralLike(specifier)) return;
    file.imports.push({ specifier: specifier.text, line: lineOf(at) });
  };
  for (const statement of source.statements) {
    if (ts.isImportDeclaration(statement)) {
      note(statement, statement.moduleSpecifier);
    } else if (ts.isExportDeclaration(statement)) {
      note(statement, statement.moduleSpecifier);
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
      note(node, node.arguments[0]);
    } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      note(node, node.argument.literal);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return file;
}

/** @param {ts.Statement} statement */
function hasDefaultModifier(statement) {
  const modifiers = ts.canHaveModifiers(statement) ? ts.getModifiers(statement) : undefined;
  return modifiers?.some(({ kind }) => kind === ts.SyntaxKind.DefaultKeyword) ?? false;
}
